"""Values and colours of masks that say by themselves where they come from."""

from collections.abc import Collection

from segkit.data.palette import IGNORE_COLOR, voc_color

VOC_CLASSES = 21
VOC_BORDER = 255


def pack(colour: tuple[int, int, int]) -> int:
    """A colour as 0xRRGGBB."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def grey_of(colour: int) -> int:
    """The grey value that Pillow's `convert("L")` makes of the colour 0xRRGGBB (ITU-R 601-2)."""
    red, green, blue = colour >> 16, colour >> 8 & 0xFF, colour & 0xFF
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


#: The colours of Pascal VOC's ids, and the ids by the grey that their colours become.
VOC_IDS = {pack(voc_color(n)): n for n in range(VOC_CLASSES)} | {pack(IGNORE_COLOR): VOC_BORDER}
VOC_GREYS: dict[int, list[int]] = {}
for _colour, _id in VOC_IDS.items():
    VOC_GREYS.setdefault(grey_of(_colour), []).append(_id)


def ids_behind_greys(values: Collection[int]) -> dict[int, list[int]] | None:
    """The ids, of which two may share a grey, that palette files of Pascal VOC had before they were made grey.

    None unless all `values` are such greys, and at least two of them besides 0 are.
    """
    if len(set(values) - {0}) < 2 or not set(values) <= VOC_GREYS.keys():
        return None
    return {value: VOC_GREYS[value] for value in sorted(values)}


def is_voc_palette(palette: dict[int, int]) -> bool:
    """Whether at least two values besides 0 have their colour in Pascal VOC's palette, and none has another."""
    named = {value: colour for value, colour in palette.items() if value != 0}
    return len(named) >= 2 and all(VOC_IDS.get(colour) == value for value, colour in named.items())
