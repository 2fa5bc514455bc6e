"""Evaluation and prediction beside the direct way."""
