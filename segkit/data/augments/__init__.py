"""The augmentations a configuration can name (`augment.name`), one file each.

An augmentation is a callable `augment(sample) -> sample`. It draws from the global generators of torch, NumPy and
Python and from nothing else; the caller seeds these for every sample, and torch's alone for one that says
`draws_from_torch`, which takes less time. One that says `takes_plain_tensors` gets the tensors of the data set; any
other gets the types by which torchvision's transforms tell image, labels and weights apart. One that says
`takes_any_layout` gives the same pixels whether the image is stored band by band or pixel by pixel.
"""
