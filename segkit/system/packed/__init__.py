"""A run as one file: what is in it, writing it, and opening it without trusting it."""
