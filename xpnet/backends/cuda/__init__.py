"""What makes CuPy fast on small networks: a block of recorded steps runs as one CUDA graph of few kernels.

CuPy launches a kernel for each operation, and a launch takes longer than a small network's arithmetic. So the
operations of some steps are recorded (`replay`), those between two matrix products are joined into kernels generated
for them (`fusion` decides which, `source` writes them), and all launches are captured as a graph (`graph`), which the
device runs by itself. `functions` holds the functions of the Array API in forms that can be captured, and `cublas` the
matrix product.
"""
