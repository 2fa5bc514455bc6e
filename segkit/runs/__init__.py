"""One run around the loop: checks before it, its folder, checkpoints, resuming, and how it ended."""
