"""Learning: check your own backpropagation, mistakes in the equations, and the book's interface and files."""

from xpnet.learn.backprop_check import check_backprop

__all__ = ["check_backprop"]
