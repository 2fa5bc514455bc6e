"""Configurations that leave the machine that they were made on, in an exported network or a packed run."""
