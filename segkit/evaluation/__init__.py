"""One yardstick for every loss: scores from confusion matrices, and pictures of predictions."""
