"""Learning: the book's interface and files, mistakes to break a network with, and the check of its gradients."""
