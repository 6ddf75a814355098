"""Optimizers: SGD; Adam and its relatives; and wrappers that can be put around any of them."""
