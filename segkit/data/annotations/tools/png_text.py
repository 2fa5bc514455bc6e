"""Pictures that a JSON file holds as text: PNG files in base64."""

import base64
import io

from PIL import Image


def decode_png(text: str) -> Image.Image:
    """The picture of a PNG file in base64. Raises ValueError for a text that is none."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as image:
            image.load()
            return image
    except MemoryError:  # which says nothing about the file
        raise
    except Exception as error:  # of a damaged file, a decoder raises nearly anything
        raise ValueError(f"no PNG file in base64: {error}") from error
