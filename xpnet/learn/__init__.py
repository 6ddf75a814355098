"""Learning: check your own backpropagation."""

from xpnet.learn._backprop_check import check_backprop

__all__ = ["check_backprop"]
