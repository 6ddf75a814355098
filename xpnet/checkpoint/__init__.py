"""Checkpoints: a network and its training, as a plain record and as a file."""
