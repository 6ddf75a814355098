"""Runs recorded steps on CuPy as CUDA graphs with few kernels.

CuPy launches a kernel for each operation, and a launch takes longer than the arithmetic of a small network. So the
operations of some steps are recorded (`replay`), those between two matrix products are fused into generated kernels
(`fusion` groups them, `source` writes the code), and all launches are captured as a graph (`graph`), which the device
runs by itself. `functions` holds functions of the Array API in forms that can be captured, `cublas` the matrix product.
"""
