"""What chance may do to a difference: other images, other seeds, and both in one interval."""
