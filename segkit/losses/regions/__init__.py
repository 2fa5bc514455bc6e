"""Losses that compare regions, borders or shapes, not single pixels: a registered loss per file."""
