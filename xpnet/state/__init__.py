"""What a network is at one moment: one value, and how it was made and trained."""
