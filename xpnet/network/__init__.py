"""The two classes that users work with: `Network` and `Ensemble`."""
