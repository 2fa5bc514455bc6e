"""Losses, and the search for the hardest pixels, beside those of others and plain PyTorch."""
