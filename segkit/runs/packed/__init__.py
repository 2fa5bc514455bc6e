"""The weights of a packed run, and all that they need to be used as those of the run."""
