"""Checkpoints: a network and the training that it is in, as a plain record, and as a file."""
