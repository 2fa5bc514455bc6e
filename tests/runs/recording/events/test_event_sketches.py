"""Events of TensorBoard that are made beside a run."""

import io

import numpy as np
import torch
from PIL import Image
from tensorboard.compat.proto import summary_pb2

from segkit.runs.recording.events.event_sketches import EventSketches


def test_a_picture_is_encoded_without_a_loss():
    picture = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sketches = EventSketches(wanted=True)
    sketches.image("examples/0", picture, 12)
    [(encoded, iteration)] = sketches.made
    [value] = summary_pb2.Summary.FromString(encoded).value
    assert (iteration, value.tag) == (12, "examples/0")
    assert (value.image.height, value.image.width, value.image.colorspace) == (5, 7, 3)
    with Image.open(io.BytesIO(value.image.encoded_image_string)) as read:
        assert np.array_equal(np.array(read), picture.permute(1, 2, 0).numpy())


def test_nothing_is_made_where_nothing_is_wanted():
    sketches = EventSketches(wanted=False)
    sketches.image("examples/0", torch.zeros(3, 4, 4, dtype=torch.uint8), 1)
    sketches.probabilities("p", [torch.ones(3)], 1)
    assert sketches.made == []
