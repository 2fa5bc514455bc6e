"""`segkit prepare-data convert`: whatever a configuration reads, written as image and mask files."""
