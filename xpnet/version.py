"""The version of xpnet, which files name."""

__version__ = "0.1.0"
