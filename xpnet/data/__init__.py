"""Data: from any source to arrays on the device, the order of minibatches, and data sets to learn with."""
