"""The transforms that `augment: {name: compose}` can name: segkit's own, one file each, and torchvision's.

A transform is a `torchvision.transforms.v2.Transform`: called with a dict of image (`tv_tensors.Image`, uint8), target
(`TargetMask`) and weight (`WeightMap` or None), it returns the dict with all of them changed alike. It draws from
torch's global generator and from nothing else.
"""
