"""Learning: check your own backpropagation, and mistakes in the equations."""

from xpnet.learn._backprop_check import check_backprop
from xpnet.learn._mutations import MISTAKES, break_equation, make_figure

__all__ = [
    "MISTAKES",
    "break_equation",
    "check_backprop",
    "make_figure",
]
