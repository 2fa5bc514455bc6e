"""Losses that look at where pixels lie, and not only at what they are: what these cannot promise."""

_REASON = "its value depends on where pixels lie"
#: The checks of `check_loss` that move pixels.
UNPROMISED = dict.fromkeys(("pixel_order", "ties", "other_shapes"), _REASON)
