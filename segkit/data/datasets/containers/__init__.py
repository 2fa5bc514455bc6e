"""Data sets of files that hold several images each, one file per kind: stacks, arrays, tables and volumes.

They are `PartedFiles`: a sample is a part of a file, which is read when it is asked for and no other with it.
"""
