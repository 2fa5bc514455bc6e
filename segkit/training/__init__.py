"""A Config to live objects, and the loop that trains them."""
