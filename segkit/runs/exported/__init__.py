"""Networks that have left PyTorch as a file: what the file says of itself, and predicting with it."""
