"""Comparing training runs: planning and running them, honest statistics, a report."""
