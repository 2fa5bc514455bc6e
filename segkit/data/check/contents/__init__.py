"""What a folder holds in which no images with masks were found: how to read it, and how to make masks of it."""

from segkit.data.check.contents.blocks import propose_block
from segkit.data.check.contents.describe import describe_contents
from segkit.data.check.contents.scripts import class_masks_script

__all__ = ["class_masks_script", "describe_contents", "propose_block"]
