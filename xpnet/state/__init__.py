"""The value of a network, and its settings, provenance and history."""
