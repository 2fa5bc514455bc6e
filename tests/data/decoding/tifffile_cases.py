"""TIFF files as tifffile writes them, alone and for ImageJ and OME."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tests.data.decoding.format_case import SIZE, Case, labels, picture


def tifffile_cases() -> Iterator[Case]:
    yield from _tifffile_masks()
    yield from _tifffile_images()


def _tifffile_masks() -> Iterator[Case]:
    def case(
        title: str, values: np.ndarray, expected: str = "exact", truth: Any = None, **options: Any
    ) -> Case:
        def write(path: Path) -> np.ndarray:
            import tifffile

            tifffile.imwrite(path, values, **options)
            return values if truth is None else truth

        return Case("tifffile", "mask", title, ".tif", write, expected)

    yield case("bool, 1 bit, white is zero", labels(bool, most=2))
    for dtype in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"):
        name = np.dtype(dtype).name
        yield case(f"{name}, black is zero", labels(dtype), photometric="minisblack")
        if dtype in ("u1", "u2"):
            yield case(f"{name}, white is zero", labels(dtype), photometric="miniswhite")
        if dtype[0] in "if" and dtype not in ("i1", "f2"):
            yield case(f"{name} with -9999", labels(dtype) * np.array(3333, dtype) - np.array(9999, dtype))
    yield case("uint32 up to 2^32 - 1", labels("u4") * np.uint32(1431655765))
    yield case("float32 that is not whole", labels("f4") + 0.5, "floating-point numbers that are not whole")
    yield case("float64 with NaN", np.where(labels(int) == 0, np.nan, labels("f8")), "such as nan")
    for codec in ("zlib", "lzw", "packbits", "lzma", "zstd", "png", "jpeg2000", "lerc", "jpegxl"):
        yield case(f"uint8, {codec}", labels("u1"), compression=codec)
    for codec in ("zlib", "lzw", "zstd", "png", "lerc"):
        yield case(f"uint16, {codec}", labels("u2", most=300), compression=codec)
    yield case("uint8, jpeg", labels("u1") * 60, "lossy", compression="jpeg")
    yield case("uint16, tiles, predictor", labels("u2"), tile=(16, 16), compression="zlib", predictor=True)
    yield case("uint16, big endian", labels("u2", most=300), byteorder=">")
    yield case("uint8, BigTIFF", labels("u1"), bigtiff=True)
    yield case(
        "int64, BigTIFF, big endian, zlib", labels("i8"), bigtiff=True, byteorder=">", compression="zlib"
    )
    ramp = np.stack([np.arange(256, dtype="u2") * 257] * 3)
    yield case("uint8, palette", labels("u1"), photometric="palette", colormap=ramp)
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], dtype="u1")[labels(int)]
    packed = colours[..., 0].astype(int) << 16 | colours[..., 1].astype(int) << 8 | colours[..., 2]
    yield case("uint8, RGB colours", colours, truth=packed, photometric="rgb")
    yield case("uint16, RGB colours times 257", colours.astype("u2") * 257, truth=packed, photometric="rgb")
    yield case(
        "uint8, RGB colours by plane",
        np.moveaxis(colours, 2, 0),
        truth=packed,
        photometric="rgb",
        planarconfig="separate",
    )
    yield case(
        "uint8, two bands",
        np.stack([labels("u1")] * 2, axis=2),
        "2 bands",
        photometric="minisblack",
        planarconfig="contig",
    )
    yield case(
        "a stack of pages",
        np.stack([labels("u1")] * 3),
        "it holds 3 images of one size",
        photometric="minisblack",
    )
    yield case(
        "a stack of ImageJ's", np.stack([labels("u1")] * 3), "it holds 3 images of one size", imagej=True
    )
    yield case("a stack of OME's", np.stack([labels("u2")] * 3), "it holds 3 images of one size", ome=True)
    for dtype in ("u1", "i8"):
        yield _behind_thumbnail("mask", np.dtype(dtype).name, labels(dtype))
    yield case("one slice of ImageJ's", labels("u2"), imagej=True)
    yield case("one slice of OME's", labels("u2"), ome=True)


def _behind_thumbnail(what: Literal["mask", "image"], title: str, values: np.ndarray) -> Case:
    """A file whose first page is a smaller copy of its second."""

    def write(path: Path) -> np.ndarray:
        import tifffile

        with tifffile.TiffWriter(path) as file:
            file.write(values[::4, ::4], photometric="minisblack", subfiletype=1)
            file.write(values, photometric="minisblack")
        return values if what == "mask" else values[..., None]

    expected = f"its first page is a thumbnail ({values.shape[1] // 4}x{values.shape[0] // 4}) of page 2"
    return Case("tifffile", what, f"{title}, behind its thumbnail", ".tif", write, expected)


def _tifffile_images() -> Iterator[Case]:
    def case(
        title: str, values: np.ndarray, expected: str = "exact", truth: Any = None, **options: Any
    ) -> Case:
        def write(path: Path) -> np.ndarray:
            import tifffile

            shown = values[..., 0] if values.shape[2] == 1 else values
            shown = np.moveaxis(shown, 2, 0) if options.get("planarconfig") == "separate" else shown
            tifffile.imwrite(path, shown, **options)
            return values if truth is None else truth

        return Case("tifffile", "image", title, ".tif", write, expected)

    for bits in (10, 12, 14, 16):
        high = 2**bits - 1
        yield case(f"uint16 of {bits} bits, grey", picture("u2", 1, high=high), photometric="minisblack")
        yield case(f"uint16 of {bits} bits, RGB", picture("u2", 3, high=high), photometric="rgb")
    yield case("uint8, RGB by plane", picture("u1", 3), photometric="rgb", planarconfig="separate")
    for bands in (4, 5):
        extra = ["unspecified"] * (bands - 3)
        yield case(
            f"uint8, RGB and {bands - 3} more", picture("u1", bands), photometric="rgb", extrasamples=extra
        )
        yield case(
            f"uint16, RGB and {bands - 3} more",
            picture("u2", bands, high=4095),
            photometric="rgb",
            extrasamples=extra,
        )
    clear = picture("u1", 4)
    yield case(
        "uint8, RGB with alpha", clear, truth=clear[..., :3], photometric="rgb", extrasamples=["unassalpha"]
    )
    clear = picture("u2", 4, high=4095)
    clear[0, 0, 3] = 0
    yield case(
        "uint16, RGB with alpha", clear, truth=clear[..., :3], photometric="rgb", extrasamples=["unassalpha"]
    )
    for bands in (2, 4, 13):
        for planes in ("contig", "separate"):
            yield case(
                f"uint8, {bands} bands, {planes}",
                picture("u1", bands),
                photometric="minisblack",
                planarconfig=planes,
            )
        yield case(
            f"uint16, {bands} bands, zlib",
            picture("u2", bands, high=10000),
            photometric="minisblack",
            planarconfig="contig",
            compression="zlib",
        )
    yield case("int16 below zero", picture("i2", 1, low=-2000, high=2000), photometric="minisblack")
    yield case("float32 in [0, 1]", picture("f4", 1, high=1), photometric="minisblack")
    yield case("float32, RGB", picture("f4", 3, low=-3, high=9), photometric="rgb")
    yield case("float64", picture("f8", 1, low=200, high=320), photometric="minisblack")
    yield _behind_thumbnail("image", "uint16", picture("u2", 1, high=4095)[..., 0])
    black = np.zeros((*SIZE, 4), dtype="u1")
    black[..., 3] = picture("u1", 1)[..., 0]
    grey = np.repeat(255 - black[..., 3:], 3, axis=2)
    yield case("uint8, CMYK", black, truth=grey, photometric="separated")
    yield case("uint16, CMYK", black.astype("u2") * 257, "its colours are CMYK", photometric="separated")
    yield case("uint16, CIELab", picture("u2", 3), "its colours are CIELab", photometric="cielab")
    yield case(
        "uint8, white is zero", picture("u1", 1), truth=255 - picture("u1", 1), photometric="miniswhite"
    )
