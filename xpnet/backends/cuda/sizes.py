"""Sizes of the generated kernels. They are read at each use, so that tests and benchmarks can change them.

They change how fast a graph is, not what it computes, except that sums along an axis round differently if another
kernel computes them. `benchmarks/gpu.py --parts sweep` times other sizes.
"""

ONE_BLOCK_ELEMENTS = 1 << 14  # most elements that one block of threads processes while the rest of the GPU is idle
MAX_SUMMED = 256  # most numbers that one thread adds up
MAX_KERNEL_THREADS = 512  # of a kernel that runs in one block
THREADS_PER_BLOCK = 128  # of a kernel that is spread over many blocks: small blocks reach all parts of the GPU
MAX_BLOCKS = 1024  # of such a kernel; its threads loop over the remaining elements
ELEMENTS_AT_ONCE = 1  # that a thread loads and stores together if they are aligned: 1, 2 or 4
