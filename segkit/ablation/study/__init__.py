"""Finished runs to a study: reading them, and what may be compared."""
