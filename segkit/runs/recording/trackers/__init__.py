"""Experiment trackers of other packages: each is spoken to by a process of its own, which the recorder feeds."""
