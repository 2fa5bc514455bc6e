"""How a network is shown an image: as a whole or in tiles, mirrored and in other sizes too, and what comes of it.

Training's validation, `evaluate` and `predict` all show images in this way, so that what is scored is what is shipped.
"""

from segkit.evaluation.views.views import (
    WHOLE,
    PixelFunction,
    Views,
    predict_blocks,
    predict_views,
    score_views,
    view_pixels,
)

__all__ = [
    "WHOLE",
    "PixelFunction",
    "Views",
    "predict_blocks",
    "predict_views",
    "score_views",
    "view_pixels",
]
