"""Inspection of a network: predictions, activations, derivatives with respect to the inputs, and a summary."""
