"""Which ids a target may hold."""

import pytest
import torch

from segkit.data.files.validate import check_ids
from segkit.errors import DataError


def check(values, *, dtype=torch.int64, ignore_index=255):
    check_ids(
        torch.tensor([values], dtype=dtype).numpy(), num_classes=3, ignore_index=ignore_index, source="a.png"
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_classes_and_ignored_pixels_pass(dtype):
    check([0, 1, 2, 255], dtype=dtype)
    check([0, 1, 2], dtype=dtype, ignore_index=0)
    check([0, 1, 2, 2], dtype=dtype, ignore_index=-1)


def test_a_negative_ignore_index():
    check([0, -1, 2], ignore_index=-1)


@pytest.mark.parametrize(("wrong", "options"), [(3, {}), (254, {}), (-1, {}), (-7, {"ignore_index": -1})])
def test_anything_else_is_named(wrong, options):
    with pytest.raises(DataError, match=rf"label out of range: a.png has ids .*{wrong}"):
        check([0, wrong, 2], **options)


def test_255_is_no_class_where_another_id_is_ignored():
    with pytest.raises(DataError):
        check([0, 255], dtype=torch.uint8, ignore_index=-1)
