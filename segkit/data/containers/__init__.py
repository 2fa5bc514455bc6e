"""Files that hold several images each, as data sets: which parts belong together, and which of them validate."""
