"""The bins in which pixels are counted by their confidence, for those who count and those who read the counts.

Bins are of equal width: bin b, from 0 on, holds the confidences above b / BINS, up to and including (b + 1) / BINS, as
in Guo et al. 2017 (arXiv:1706.04599). Confidences are rounded to multiples of 1 / UNIT, then binned and added up as
such, so that sums are exact; a bin is WIDTH of them wide.
"""

BINS = 15
WIDTH = 2**16
UNIT = BINS * WIDTH
