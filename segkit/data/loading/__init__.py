"""Samples to batches: in which order, by which processes, and what becomes of those that cannot be used."""
