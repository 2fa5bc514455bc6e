"""Data sets as annotation tools export them, read as they are: the labels are drawn when a sample is read.

Each finds the images and their annotations, and gives the shapes of one image; the rest is in
`segkit.data.annotations.tools`.
"""
