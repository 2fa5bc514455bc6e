"""Image and label files of every kind that tools write, each with what was drawn, and what reading them has to give.

`CASES` has one entry for each combination of a writer, a photometric interpretation, a type of numbers, bands,
compression and layout. A case is expected to be read exactly (`exact`), to be refused with a message that has some
words (`refused`), or to be read exactly but for what a lossy codec changes, which the check says (`lossy`).
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.decoding.format_case import SIZE, Case, labels, picture
from tests.data.decoding.tifffile_cases import tifffile_cases


def _pillow() -> Iterator[Case]:
    def case(
        what: Any,
        title: str,
        suffix: str,
        image: Callable[[], Image.Image],
        truth: Any,
        expected: str = "exact",
        **options: Any,
    ) -> Case:
        def write(path: Path) -> np.ndarray:
            image().save(path, **options)
            return truth

        return Case("Pillow", what, title, suffix, write, expected)

    ids = labels("u1")
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], dtype="u1")[labels(int)]
    packed = colours[..., 0].astype(int) << 16 | colours[..., 1].astype(int) << 8 | colours[..., 2]

    def palette() -> Image.Image:
        image = Image.fromarray(ids).convert("P")
        image.frombytes(ids.tobytes())
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
        return image

    two = labels("u1", most=2)
    for suffix, codecs in {".png": [None], ".bmp": [None], ".tif": [None, "group4", "tiff_lzw"]}.items():
        for codec in codecs:
            options = {} if codec is None else {"compression": codec}
            name = f"{suffix[1:].upper()}{'' if codec is None else f', {codec}'}"
            yield case(
                "mask",
                f"mode 1, {name}",
                suffix,
                lambda: Image.fromarray(two * 255).convert("1"),
                two,
                **options,
            )
            if codec != "group4":
                yield case("mask", f"mode L, {name}", suffix, lambda: Image.fromarray(ids), ids, **options)
                yield case("mask", f"mode P, {name}", suffix, palette, ids, **options)
                yield case(
                    "mask", f"mode RGB, {name}", suffix, lambda: Image.fromarray(colours), packed, **options
                )
    for suffix in (".png", ".tif"):
        wide = labels("u2", most=300)
        yield case(
            "mask", f"mode I;16, {suffix[1:].upper()}", suffix, lambda w=wide: Image.fromarray(w), wide
        )
        yield case(
            "mask", f"mode LA, {suffix[1:].upper()}", suffix, lambda: Image.fromarray(ids).convert("LA"), ids
        )
        yield case(
            "mask",
            f"mode RGBA, {suffix[1:].upper()}",
            suffix,
            lambda: Image.fromarray(colours).convert("RGBA"),
            packed,
        )
    yield case(
        "mask", "mode I, TIFF", ".tif", lambda: Image.fromarray(ids.astype("i4") - 1), ids.astype("i4") - 1
    )
    yield case("mask", "mode F, TIFF", ".tif", lambda: Image.fromarray(ids.astype("f4")), ids)
    yield case(
        "mask",
        "mode RGB, WebP without loss",
        ".webp",
        lambda: Image.fromarray(colours),
        packed,
        lossless=True,
    )
    yield case("mask", "mode RGB, WebP", ".webp", lambda: Image.fromarray(colours), packed, "lossy")
    for title, drawn in (
        ("mode L, GIF", ids),
        ("mode L, 0 and 255, GIF", two * 255),
        ("mode L, 255 alone, GIF", 0 * two + 255),
    ):
        yield case("mask", title, ".gif", lambda d=drawn: Image.fromarray(d), drawn)
    yield case("mask", "mode P, GIF", ".gif", palette, packed)
    for title, first in (("mode P", palette), ("mode L", lambda: Image.fromarray(ids))):
        film = {"save_all": True, "append_images": [Image.fromarray(3 - ids)]}
        yield case(
            "mask", f"{title}, two frames, GIF", ".gif", first, ids, "it holds 2 images of one size", **film
        )
    yield case("mask", "mode L, JPEG", ".jpg", lambda: Image.fromarray(ids * 60), ids * 60, "lossy")
    yield case(
        "mask",
        "mode L, TIFF, jpeg",
        ".tif",
        lambda: Image.fromarray(ids * 60),
        ids * 60,
        "lossy",
        compression="jpeg",
    )
    for suffix in (".png", ".bmp", ".tif", ".webp"):
        options = {"lossless": True} if suffix == ".webp" else {}
        shown = picture("u1", 3)
        yield case(
            "image",
            f"mode RGB, {suffix[1:].upper()}",
            suffix,
            lambda s=shown: Image.fromarray(s),
            shown,
            **options,
        )
    grey, clear = picture("u1", 1), picture("u1", 4)
    yield case("image", "mode L, GIF", ".gif", lambda: Image.fromarray(grey[..., 0]), grey)
    yield case("image", "mode L, PNG", ".png", lambda: Image.fromarray(grey[..., 0]), grey)
    yield case("image", "mode RGBA, PNG", ".png", lambda: Image.fromarray(clear), clear[..., :3])
    deep = picture("u2", 1, high=4095)
    yield case("image", "mode I;16 of 12 bits, PNG", ".png", lambda: Image.fromarray(deep[..., 0]), deep)


def _rasterio() -> Iterator[Case]:
    def case(
        what: Any,
        title: str,
        values: np.ndarray,
        expected: str = "exact",
        truth: Any = None,
        driver: str = "GTiff",
        **options: Any,
    ) -> Case:
        def write(path: Path) -> np.ndarray:
            import rasterio

            bands = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
            size = {"height": bands.shape[1], "width": bands.shape[2], "count": len(bands)}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without georeference
                with rasterio.open(
                    path, "w", driver=driver, dtype=bands.dtype.name, **size, **options
                ) as file:
                    file.write(bands)
            return values if truth is None else truth

        return Case("rasterio", what, title, ".tif", write, expected)

    far = np.where(labels(int) == 0, -9999, labels(int))
    for dtype in ("int16", "int32", "float32"):
        yield case("mask", f"{dtype}, nodata -9999", far.astype(dtype), nodata=-9999)
    yield case(
        "mask", "uint8, nodata 255", np.where(labels(int) == 3, 255, labels(int)).astype("u1"), nodata=255
    )
    for bits in (1, 2, 4):
        few = labels("u1", most=min(4, 2**bits))
        yield case("mask", f"{bits} bits", few, nbits=bits)
    yield case("mask", "1 bit, fax 4", labels("u1", most=2), nbits=1, compress="CCITTFAX4")
    yield case("mask", "uint16 of 12 bits", labels("u2", most=300), nbits=12)
    for codec in ("deflate", "lzw", "zstd", "lzma", "packbits"):
        yield case(
            "mask",
            f"uint8, {codec}, tiles",
            labels("u1"),
            compress=codec,
            tiled=True,
            blockxsize=16,
            blockysize=16,
        )
    # What holds nothing but no data is left out.
    half = np.where(np.indices(SIZE)[1] < 16, labels("u1"), 7).astype("u1")
    for codec in ("none", "deflate"):
        tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16, "SPARSE_OK": True}
        yield case("mask", f"uint8, {codec}, sparse", half, nodata=7, compress=codec, **tiles)
    yield case("mask", "uint8, jpeg", labels("u1") * 60, "lossy", compress="jpeg")
    yield case("mask", "uint8, cloud optimised", labels("u1"), driver="COG")
    yield case("image", "uint16, 4 bands by pixel", picture("u2", 4, high=4095), interleave="pixel")
    yield case(
        "image",
        "uint16, 6 bands by band",
        picture("u2", 6, high=10000),
        interleave="band",
        compress="deflate",
    )
    yield case("image", "uint8, RGB and NIR, ALPHA=NO", picture("u1", 4), photometric="RGB", alpha="NO")
    clear = picture("u1", 4)
    yield case("image", "uint8, RGB and alpha", clear, truth=clear[..., :3], photometric="RGB", alpha="YES")
    yield case("image", "float32, nodata -9999", picture("f4", 1, low=0, high=1), nodata=-9999)


def _scikit_image() -> Iterator[Case]:
    def case(
        what: Any, title: str, suffix: str, values: np.ndarray, expected: str = "exact", truth: Any = None
    ) -> Case:
        def write(path: Path) -> np.ndarray:
            from skimage import io

            shown = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a boolean image
                io.imsave(path, shown, check_contrast=False)
            return values if truth is None else truth

        return Case("scikit-image", what, title, suffix, write, expected)

    yield case("mask", "label(), int32", ".tif", labels("i4"))
    yield case("mask", "int64", ".tif", labels("i8"))
    yield case("mask", "uint8, PNG", ".png", labels("u1"))
    yield case("mask", "uint16, PNG", ".png", labels("u2", most=300))
    yield case("mask", "bool, PNG", ".png", labels(bool, most=2), truth=labels("u1", most=2) * 255)
    yield case("image", "float32", ".tif", picture("f4", 1, high=1))
    yield case("image", "uint16 of 12 bits, RGB", ".tif", picture("u2", 3, high=4095))


def _opencv() -> Iterator[Case]:
    def case(
        what: Any,
        title: str,
        suffix: str,
        values: np.ndarray,
        expected: str = "exact",
        truth: Any = None,
        options: tuple = (),
    ) -> Case:
        def write(path: Path) -> np.ndarray:
            import cv2

            order = (
                [2, 1, 0, *range(3, values.shape[2])] if values.ndim == 3 and values.shape[2] > 2 else None
            )
            assert cv2.imwrite(str(path), values if order is None else values[..., order], list(options))
            return values if truth is None else truth

        return Case("OpenCV", what, title, suffix, write, expected)

    yield case("mask", "uint8, PNG", ".png", labels("u1"))
    yield case("mask", "uint16, PNG", ".png", labels("u2", most=300))
    yield case("mask", "int32, TIFF", ".tif", labels("i4") - 1)
    yield case("mask", "float32, TIFF", ".tif", labels("f4"))
    yield case("image", "uint16 of 12 bits, PNG", ".png", picture("u2", 1, high=4095))
    yield case("image", "uint16 of 12 bits, RGB, PNG", ".png", picture("u2", 3, high=4095))
    clear = picture("u2", 4, high=4095)
    yield case("image", "uint16 of 12 bits, RGB with alpha, PNG", ".png", clear, truth=clear[..., :3])
    yield case("image", "uint16 of 14 bits, RGB, TIFF", ".tif", picture("u2", 3, high=2**14 - 1))
    yield case("image", "float32, RGB, TIFF", ".tif", picture("f4", 3, low=0, high=1))


CASES = [*tifffile_cases(), *_pillow(), *_rasterio(), *_scikit_image(), *_opencv()]
assert len({case.name for case in CASES}) == len(CASES)
