"""Labels that tools keep as polygons, run lengths and other shapes, drawn when a sample is read.

A data set of them is an `AnnotatedImages`: it says which images there are and which objects each has. What a shape
covers is in `polygons` (by the rule of COCO's own tools), so that the same drawing in another tool's file gives the
same labels.
"""
