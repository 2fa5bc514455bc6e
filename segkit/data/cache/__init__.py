"""What is kept of files that were read: decoded samples and weight maps, on disk or in shared memory."""
