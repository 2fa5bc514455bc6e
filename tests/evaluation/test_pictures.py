"""Pictures: what is drawn where, and their sizes."""

import errno
import os

import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.utils import draw_segmentation_masks

from segkit.errors import CannotWrite
from segkit.evaluation import canvas, pictures
from tests.disks import file_size_limit

IGNORE = 255
PALETTE = [(0, 0, 0), (230, 159, 0), (86, 180, 233)]
GAP, HEADING = canvas.GAP, canvas.HEADING


def image(channels: int = 3, height: int = 40, width: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (channels, height, width), generator=generator, dtype=torch.uint8)


def panel(channels: int = 3, *, kept: bool = True, height: int = 40, width: int = 50) -> dict:
    target = torch.zeros(height, width, dtype=torch.uint8)
    target[:, 10:] = 1
    target[:5] = IGNORE
    prediction = torch.zeros(height, width, dtype=torch.int64)
    share = torch.rand(height, width, generator=torch.Generator().manual_seed(1)) if kept else None
    return {
        "image": image(channels, height, width),
        "target": target,
        "prediction": prediction,
        "ce": torch.rand(height, width, generator=torch.Generator().manual_seed(2)) * 6,
        "kept": share,
    }


def test_grey_images_become_rgb():
    grey, colour = image(1), image(3)
    assert torch.equal(pictures.as_rgb(grey), grey.repeat(3, 1, 1))
    assert torch.equal(pictures.as_rgb(colour), colour)
    wide = torch.cat([colour, grey])
    assert torch.equal(pictures.as_rgb(wide), colour)


def test_ids_have_the_colours_of_the_palette():
    ids = torch.tensor([[0, 1], [2, 1]], dtype=torch.uint8)
    painted = pictures.color_ids(ids, PALETTE, IGNORE)
    assert painted.permute(1, 2, 0).tolist() == [[list(PALETTE[i]) for i in row] for row in ids.tolist()]
    assert painted.dtype == torch.uint8


def test_ignored_pixels_are_hatched_in_two_greys_that_no_class_has():
    ids = torch.full((16, 16), IGNORE, dtype=torch.uint8)
    ids[8:] = 1
    painted = pictures.color_ids(ids, PALETTE, IGNORE)
    colours = {tuple(pixel) for pixel in painted[:, :8].flatten(1).T.tolist()}
    assert colours == {(150, 150, 150), (220, 220, 220)}
    assert {tuple(pixel) for pixel in painted[:, 8:].flatten(1).T.tolist()} == {PALETTE[1]}
    # Diagonal stripes: a step right and a step up stays within a stripe, four steps right leave it.
    assert torch.equal(painted[:, 1:8, :-1], painted[:, :7, 1:])
    assert (painted[:, :8, :-4] != painted[:, :8, 4:]).all()


def test_ignored_pixels_of_int64_labels_with_a_negative_id():
    ids = torch.tensor([[-1, 0], [1, 2]])
    painted = pictures.color_ids(ids, PALETTE, -1)
    assert painted[:, 0, 0].tolist() == [220, 220, 220]
    assert painted[:, 1, 1].tolist() == list(PALETTE[2])


def test_heat_rises_with_the_value():
    painted = pictures.heat(torch.linspace(-0.5, 1.5, 201)[None])
    brightness = painted.int().sum(dim=0)[0]
    assert (brightness.diff() >= 0).all() and len(brightness.unique()) > 90
    assert brightness[0] == 0 and painted[:, 0, -1].tolist() == [255, 255, 255]


def test_kept_pixels_are_the_yellower_the_more_they_are_kept():
    grey = torch.full((3, 1, 101), 200, dtype=torch.uint8)
    painted = pictures.kept_over(grey, torch.linspace(0, 1, 101)[None]).int()
    red, green, blue = painted[:, 0]
    assert (red.diff() >= 0).all() and (green.diff() >= 0).all() and (blue.diff() <= 0).all()
    assert painted[:, 0, 0].tolist() == [110, 110, 110]  # 0.55 of the image: not kept
    assert red[-1] > 200 and blue[-1] < 30


def test_kept_pixels_accept_reduced_precision_and_gradients():
    share = torch.full((40, 50), 0.5, dtype=torch.bfloat16, requires_grad=True)
    assert pictures.kept_over(image(1), share).shape == (3, 40, 50)


def test_errors_mark_wrong_valid_pixels_only():
    target = torch.tensor([[0, 1, IGNORE, 1]], dtype=torch.uint8)
    prediction = torch.tensor([[0, 0, 0, 1]])
    grey = torch.full((1, 1, 4), 100, dtype=torch.uint8)
    painted = pictures.errors_over(grey, target, prediction, IGNORE)
    assert painted[:, 0].T.tolist() == [[55, 55, 55], [230, 30, 40], [55, 55, 55], [55, 55, 55]]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("kept", "parts"), [(True, 6), (False, 5)])
def test_panels_stand_side_by_side_enlarged_to_a_readable_size(channels, kept, parts):
    row = pictures.panel_row(panel(channels, kept=kept), PALETTE, IGNORE)
    height, width = 4 * 40, 4 * 50  # 50 pixels are enlarged fourfold, the first whole factor beyond 160
    assert row.dtype == torch.uint8
    assert row.shape == (3, height + HEADING, parts * width + (parts - 1) * GAP)
    expected = pictures.as_rgb(panel(channels)["image"]).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.equal(row[:, HEADING:, :width], expected)
    assert (row[:, HEADING:, width : width + GAP] == 255).all()


def test_panel_shows_label_prediction_errors_ce_and_kept_in_this_order():
    each = panel(width=200, height=30)  # wide enough to stay as it is
    row = pictures.panel_row(each, PALETTE, IGNORE)[:, HEADING:]
    label, prediction, errors, ce, kept = (row[:, :, n * 203 : n * 203 + 200] for n in range(1, 6))
    assert torch.equal(label, pictures.color_ids(each["target"], PALETTE, IGNORE))
    assert torch.equal(prediction, pictures.color_ids(each["prediction"], PALETTE, IGNORE))
    assert torch.equal(
        errors, pictures.errors_over(each["image"], each["target"], each["prediction"], IGNORE)
    )
    assert torch.equal(ce, pictures.heat(each["ce"] / pictures.WHITE_CE))
    assert torch.equal(kept, pictures.kept_over(each["image"], each["kept"]))


def test_large_panels_are_reduced():
    row = pictures.panel_row(panel(height=700, width=1100), PALETTE, IGNORE)
    assert row.shape == (3, 234 + HEADING, 6 * 367 + 5 * GAP)


def test_moments_stand_below_each_other_under_their_captions(tmp_path):
    grey = torch.full((3, 20, 60), 99, dtype=torch.uint8)
    picture = pictures.moments([("iteration 1", grey), ("iteration 20", grey[:, :, :30])])
    band = 2 * HEADING
    assert picture.shape == (3, 2 * (band + 20), 60)
    assert (picture[:, band : band + 20] == 99).all()
    assert (picture[:, -20:, :30] == 99).all() and (picture[:, -20:, 30:] == 255).all()
    assert (picture[:, :band] < 128).any()
    pictures.save_jpeg(picture, tmp_path / "picture.jpg")
    assert (pictures.read_jpeg(tmp_path / "picture.jpg").int() - picture.int()).abs().float().mean() < 5


@pytest.mark.parametrize(("width", "factor"), [(1, 160), (32, 5), (159, 2), (160, 1), (161, 1), (2048, 1)])
def test_only_small_pictures_are_enlarged(width, factor):
    part = torch.zeros(3, 7, width, dtype=torch.uint8)
    assert pictures.titled([part], ["image"]).shape == (3, 7 * factor + HEADING, width * factor)


def test_every_part_has_its_title_above_it():
    part = torch.full((3, 10, 200), 255, dtype=torch.uint8)
    row = pictures.titled([part, part], ["image", "label"])
    dark = (row[0, :HEADING] < 128).any(dim=0)  # (W,) columns with ink
    assert dark[:100].any() and dark[203:303].any()
    assert not dark[120:203].any()


def test_rows_of_different_sizes_are_padded_with_white():
    large, small = torch.zeros(3, 20, 30, dtype=torch.uint8), torch.zeros(3, 10, 12, dtype=torch.uint8)
    grid = pictures.stack([large, small])
    assert grid.shape == (3, 2 * 20 + 3 * GAP, 30 + 2 * GAP)
    second = grid[:, 20 + 2 * GAP :, GAP:]
    assert (second[:, :10, :12] == 0).all()
    assert (second[:, 10:20] == 255).all() and (second[:, :10, 12:30] == 255).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_training_batch_shows_image_label_and_weight_map(weighted):
    batch = {"image": torch.stack([image()] * 10), "target": torch.stack([panel()["target"]] * 10)}
    if weighted:
        batch["weight"] = torch.rand(10, 40, 50) * 7
    picture = pictures.training_batch(batch, PALETTE, IGNORE)
    parts, width, height = 3 if weighted else 2, 200, 160 + HEADING
    row = parts * width + (parts - 1) * GAP
    assert picture.shape == (3, 4 * height + 5 * GAP, 2 * row + 3 * GAP)  # 8 of the 10, two in a row
    assert torch.equal(picture[:, GAP + HEADING : GAP + HEADING + 160, GAP : GAP + 200][:, ::4, ::4], image())


def test_weight_map_is_shown_as_a_share_of_the_largest_weight_of_the_batch():
    weight = torch.zeros(2, 160, 160)
    weight[0], weight[1] = 5.0, 10.0
    batch = {
        "image": torch.zeros(2, 1, 160, 160, dtype=torch.uint8),
        "target": torch.zeros(2, 160, 160),
        "weight": weight,
    }
    picture = pictures.training_batch(batch, PALETTE, IGNORE)
    row = 3 * 160 + 2 * GAP
    places = [GAP + 2 * (160 + GAP), 2 * GAP + row + 2 * (160 + GAP)]
    colours = [picture[:, -GAP - 1, place].tolist() for place in places]
    assert colours == [pictures.heat(torch.tensor([[value]]))[:, 0, 0].tolist() for value in (0.5, 1.0)]


def test_weight_map_of_zeros_does_not_divide_by_zero():
    zero = torch.zeros(1, 8, 8)
    pictures.training_batch(
        {"image": torch.zeros(1, 1, 8, 8).byte(), "target": zero, "weight": zero}, PALETTE, IGNORE
    )


def test_saved_jpeg_looks_like_the_picture(tmp_path):
    smooth = torch.linspace(0, 255, 64).expand(3, 48, 64).to(torch.uint8)
    pictures.save_jpeg(smooth, tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as read:
        assert (read.format, read.size) == ("JPEG", (64, 48))
        assert abs(read.getpixel((32, 10))[0] - int(smooth[0, 10, 32])) < 6


def test_full_disk_is_named(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(CannotWrite, match=r"cannot write .*x\.jpg: the disk is full"):
        pictures.save_jpeg(image(), tmp_path / "x.jpg")


def test_a_picture_is_written_whole_or_not_at_all(tmp_path):
    noise = torch.randint(0, 256, (3, 200, 200), dtype=torch.uint8)
    pictures.save_jpeg(noise, tmp_path / "x.jpg")
    before = (tmp_path / "x.jpg").read_bytes()
    with file_size_limit(1000), pytest.raises(CannotWrite, match=r"x\.jpg: the file is larger than"):
        pictures.save_jpeg(noise, tmp_path / "x.jpg")
    assert (tmp_path / "x.jpg").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that an operation has made."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.bytes = max(self.bytes, made.untyped_storage().nbytes())
        return made


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.5, 1.0])
def test_colours_are_mixed_as_torchvision_does(channels, opacity):
    picture = image(channels, height=2 * pictures.ROWS_AT_ONCE + 3)
    ids = torch.randint(0, 3, picture.shape[1:], dtype=torch.uint8)
    masks = torch.stack([ids == n for n in range(3)])
    expected = draw_segmentation_masks(pictures.as_rgb(picture), masks, alpha=opacity, colors=PALETTE)
    assert torch.equal(pictures.mix_with_colors(picture, ids, PALETTE, opacity=opacity), expected)


def test_mixing_needs_the_memory_of_the_result_whatever_the_classes():
    picture, palette = image(height=20 * pictures.ROWS_AT_ONCE), PALETTE * 57  # 171 classes
    ids = torch.zeros(picture.shape[1:], dtype=torch.uint8)
    with Largest() as largest:
        pictures.mix_with_colors(picture, ids, palette, opacity=0.5)
    assert largest.bytes == picture.nbytes
