"""A run, or the numbers of a study, as one file: what is in it, writing it, and opening it without trusting it."""
