"""What is painted over an image, on arrays: the colours of ids, errors, kept pixels."""

import numpy as np
import pytest
import torch

from segkit.data.palette import IGNORE_COLOR, palette
from segkit.evaluation import canvas, pictures

IGNORE = 255


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.int16])
def test_each_id_gets_its_colour_and_the_rest_the_ignore_colour(dtype):
    ids = np.array([[0, 1, 2], [3, 255 if dtype is np.uint8 else -100, 1]], dtype=dtype)
    colors = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    painted = canvas.colorize(ids, colors, ignore_color=(9, 9, 9))
    assert painted.shape == (3, 2, 3) and painted.dtype == np.uint8
    expected = [[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[9, 9, 9], [9, 9, 9], [4, 5, 6]]]
    assert painted.transpose(1, 2, 0).tolist() == expected


def test_ignore_index_inside_the_classes_gets_the_ignore_colour():
    painted = canvas.colorize(np.array([[0, 1]]), palette(2), ignore_index=0)
    assert painted.transpose(1, 2, 0).tolist() == [[list(IGNORE_COLOR), [230, 159, 0]]]


def test_leading_dimensions_are_kept():
    assert canvas.colorize(np.zeros((2, 4, 5, 6), dtype=np.uint8), palette(3)).shape == (2, 4, 3, 5, 6)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_ids_around_the_ends_of_the_colours_and_of_a_byte(dtype):
    ids = np.arange(-2 if dtype == "int64" else 0, 258 if dtype == "int64" else 256)
    for count in (3, 254, 255, 300):
        colors = palette(count)
        for ignored in (None, 1, IGNORE):
            expected = [colors[n] if 0 <= n < count and n != ignored else IGNORE_COLOR for n in ids.tolist()]
            painted = canvas.colorize(ids.astype(dtype)[None], colors, ignore_index=ignored)
            assert painted[:, 0].T.tolist() == [list(color) for color in expected]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_kept_pixels_are_the_arithmetic_that_torch_has(channels):
    """To the bit: a report shows what the pictures of a run show."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (channels, 90, 80), generator=generator, dtype=torch.uint8)
    kept = torch.rand(90, 80, generator=generator) * 1.4 - 0.2
    grey = pictures.as_rgb(image).float().mean(dim=0, keepdim=True) * 0.55
    share, yellow = kept.clamp(0, 1)[None], torch.tensor([255.0, 214.0, 0.0])[:, None, None]
    expected = (grey * (1 - 0.85 * share) + yellow * 0.85 * share).to(torch.uint8)
    found = canvas.kept_over(image.numpy(), kept.numpy())
    assert np.array_equal(found, expected.numpy())
    assert torch.equal(pictures.kept_over(image, kept), expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_errors_are_red_on_the_grey_that_torch_has(channels):
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (channels, 90, 80), generator=generator, dtype=torch.uint8)
    target = torch.randint(0, 4, (90, 80), generator=generator, dtype=torch.uint8)
    target[:9] = IGNORE
    prediction = torch.randint(0, 4, (90, 80), generator=generator)
    expected = (pictures.as_rgb(image).float().mean(dim=0, keepdim=True) * 0.55).repeat(3, 1, 1)
    expected[:, (target.long() != prediction) & (target != IGNORE)] = torch.tensor([[230.0], [30.0], [40.0]])
    found = canvas.errors_over(image.numpy(), target.numpy(), prediction.numpy(), IGNORE)
    assert np.array_equal(found, expected.to(torch.uint8).numpy())
