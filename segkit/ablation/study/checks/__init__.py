"""Whether the runs of a study may be compared: what must be the same, and what differed without anybody meaning it."""
