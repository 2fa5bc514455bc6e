"""The augmentations a configuration can name (`augment.name`), one file each.

An augmentation is a callable `augment(sample) -> sample`. It draws from torch's global generator and from nothing
else; the caller seeds that generator for every sample. One that says `takes_plain_tensors` gets the tensors of the
data set; any other gets the types by which torchvision's transforms tell image, labels and weights apart. One whose
own class says `takes_any_layout` gives the same pixels whether the image is stored band by band or pixel by pixel; what
is derived from it has to say so again.
"""
