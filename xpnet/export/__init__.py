"""Networks for other libraries, and from them: ONNX files, PyTorch modules and the weights of Keras.

Each function imports the library that it is about when it is called.
"""

from xpnet.export.keras import from_keras
from xpnet.export.onnx import to_onnx
from xpnet.export.torch import from_torch, to_torch

__all__ = ["from_keras", "from_torch", "to_onnx", "to_torch"]
