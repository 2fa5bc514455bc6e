"""The per-pixel weight maps a configuration can name (`data.weight_map.name`), one file each.

A weight map is a callable `maker(sample) -> float32 tensor (H, W)` with values >= 0. It sees the sample as it was
read; the augmentation then moves its pixels together with those of the image and the target.
"""
