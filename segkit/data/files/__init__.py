"""Which files belong together, and what is in them: images, masks, lists of names and classes, label maps."""
