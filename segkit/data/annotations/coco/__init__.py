"""COCO's JSON files: which images, categories and objects there are, and what an object covers.

Files of a million outlines are read in pieces, and what is kept of an outline is where it stands in the file: it is
read again when its image is drawn.
"""
