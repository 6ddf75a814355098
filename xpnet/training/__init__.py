"""Training: the loop over epochs, the history, callbacks, metrics and evaluation."""
