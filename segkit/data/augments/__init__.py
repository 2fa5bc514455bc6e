"""The augmentations a configuration can name (`augment.name`), one file each.

An augmentation is a callable `augment(sample) -> sample`. It draws from the global generators of torch, NumPy and
Python and from nothing else; the caller seeds these for every sample. One that says `takes_plain_tensors` gets the
tensors of the data set; any other gets the types by which torchvision's transforms tell image, labels and weights
apart. Two things save time, and what is derived from a class that says them has to say them again: with
`draws_from_torch` only torch's generator is seeded, and with `takes_any_layout` the image may be stored pixel by pixel,
where the same pixels have to come of it as of one stored band by band.
"""
