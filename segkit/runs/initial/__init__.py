"""Weights that a run starts from instead of random ones (`model.init_from`)."""
