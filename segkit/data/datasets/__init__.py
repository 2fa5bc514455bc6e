"""The data sets a configuration can name (`data.name`), one file each.

A data set has `num_classes`, `class_names`, `ignore_index`, `channels` (of its images, 1 or 3), `__len__` and
`__getitem__(index) -> Sample`, and may have a `palette` (one RGB colour per class) and `files(index)`, the paths of all
files that a sample is decoded from, without which it cannot be cached. `names`, or `sample_names()`, says what its
samples are called without reading them. It neither augments nor normalises.

Data sets of files build on `PairedFiles`: they find the images and their label files, and say what the labels mean. A
published one finds them with `segkit.data.files.published`, has its labels in a `LabelTable`, and is listed in
`segkit.data.sources` with its page, licence and archives. Those of files that hold several images each, in
`containers/`, are `PartedFiles`: beside `files(index)` they have `sources(index)`, the parts that no other sample has.
Those of annotation tools, `coco*` and in `tools/`, are `AnnotatedImages`, which draw their labels from what the tool
saved (`segkit/data/annotations/`).
"""
