"""Run lengths of Label Studio's brush."""

import numpy as np
import pytest

from segkit.data.annotations.tools.brush_rle import decode_brush
from tests.data.annotations.tools.brush_writer import pack_brush

#: What label-studio-converter 0.0.59 (`brush.mask2rle`) makes of [[0, 255, 255], [0, 0, 7]].
REFERENCE = ([0, 255, 255, 0, 0, 7], [0, 0, 0, 24, 57, 27, 252, 96, 19, 255, 206, 1, 24, 56])


def test_what_the_tools_own_converter_writes():
    values, packed = REFERENCE
    assert decode_brush(bytes(packed), values=24).tolist() == np.repeat(values, 4).tolist()


@pytest.mark.parametrize("lengths", [(3, 4, 8, 16), (1, 2, 5, 12)])
@pytest.mark.parametrize("singles", [True, False])
def test_runs_of_equal_and_of_different_values(lengths, singles):
    random = np.random.default_rng(0)
    for _ in range(20):
        values = np.repeat(
            random.integers(0, 256, 40), random.integers(1, 900, 40) ** random.integers(0, 2, 40)
        )
        packed = pack_brush(values.astype(np.uint8), lengths=lengths, singles=singles)
        assert np.array_equal(decode_brush(packed, values=len(values)), values)


def test_data_that_are_cut_short_or_others():
    packed = pack_brush(np.arange(50, dtype=np.uint8))
    for end in (0, 3, 6, 20):
        with pytest.raises(ValueError, match="the data are cut short"):
            decode_brush(packed[:end], values=50)
    with pytest.raises(ValueError, match="50 values, expected 51"):
        decode_brush(packed, values=51)
    longer = pack_brush(np.zeros(60, dtype=np.uint8))
    with pytest.raises(ValueError, match="a run goes beyond the end"):
        decode_brush(packed[:4] + longer[4:], values=50)
    with pytest.raises(ValueError, match="values of 16 bits, expected 8"):
        decode_brush(packed[:4] + bytes([packed[4] | 0b01000000]) + packed[5:], values=50)
