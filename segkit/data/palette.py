"""Colours for class ids, the same in every picture of a run and of the runs compared with it."""

from collections.abc import Sequence
from dataclasses import dataclass

Color = tuple[int, int, int]

#: Okabe and Ito's colours, which readers with a colour vision deficiency can tell apart
#: (Color Universal Design, 2008).
OKABE_ITO: tuple[Color, ...] = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)

#: The cream that Pascal VOC gives to its void id 255; no class below that id has it.
IGNORE_COLOR: Color = (224, 224, 192)


def palette(num_classes: int) -> list[Color]:
    """Distinct (r, g, b) colours in 0-255 for the ids 0 ... num_classes-1; id 0 is black.

    Up to 8 classes: Okabe and Ito's. More: the bit pattern of Pascal VOC's development kit.
    """
    if num_classes <= len(OKABE_ITO):
        return list(OKABE_ITO[:num_classes])
    return [voc_color(index) for index in range(num_classes)]


def voc_color(index: int) -> Color:
    """Pascal VOC's colour of a class id: bits 0, 3, 6 ... of the id fill red from its highest bit down, bits
    1, 4, 7 ... green, bits 2, 5, 8 ... blue."""
    channels = [0, 0, 0]
    for bit in range(24):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    red, green, blue = channels
    return red, green, blue


@dataclass(frozen=True)
class Legend:
    """How classes are named and drawn."""

    class_names: Sequence[str]
    palette: Sequence[Color]
    ignore_index: int
