"""From files to batches, and annotation files, beside other libraries."""
