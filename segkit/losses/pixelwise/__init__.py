"""Losses that are a mean over pixels, beside the four named cross-entropies: a registered loss per file."""
