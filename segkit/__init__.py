"""segkit: semantic segmentation training in which the loss is the experimental variable."""

__version__ = "0.1.0"
