"""Sizes of the generated kernels, which trade one speed for another; they are read at each use.

They change how fast a graph is, not what it computes, except that sums along an axis round differently where another
kernel computes them. `benchmarks/gpu.py --parts sweep` times others.
"""

ONE_BLOCK = 1 << 14  # most elements that one block of threads processes while the rest of the GPU is idle
SHORT = 256  # most numbers that one thread adds up
THREADS = 512  # of a kernel that runs in one block, at most
THREADS_PER_BLOCK = 128  # of a kernel that is spread over many blocks: small ones reach all parts of the GPU
AT_ONCE = 1  # elements that a thread loads and stores together where they are aligned: 1, 2 or 4
MOST_BLOCKS = 1024  # of such a kernel; its threads loop over the elements beyond
