"""What is done outside training, one command per file or package."""
