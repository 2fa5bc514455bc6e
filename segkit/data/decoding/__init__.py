"""Image files to numbers: the one reader of training, checks and predictions."""
