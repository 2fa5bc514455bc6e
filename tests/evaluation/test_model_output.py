"""Whatever form a model gives its logits in, they are found, or the message says what it gave instead."""

from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from segkit.errors import ConfigError
from segkit.evaluation.evaluate import evaluate
from segkit.evaluation.model_output import output_logits, split_output

MAIN, AUX, THIRD = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 4, 4), torch.full((2, 3, 2, 2), 2.0)
Named = namedtuple("Named", "loss logits")
WITHOUT_AUX = {
    "tensor": MAIN,
    "out": {"out": MAIN},
    "logits": {"logits": MAIN, "hidden": torch.zeros(7)},
    "transformers": OrderedDict(loss=torch.zeros(()), logits=MAIN),
    "object": SimpleNamespace(logits=MAIN, hidden=None),
    "namedtuple": Named(torch.zeros(()), MAIN),
    "tuple": (MAIN,),
    "none": (MAIN, None),
    "no aux": {"out": MAIN, "aux": None},
}
WITH_AUX = {
    "dict": {"out": MAIN, "aux": AUX},
    "dict of several": {"out": MAIN, "aux": [AUX, THIRD]},
    "object": SimpleNamespace(logits=MAIN, aux=(AUX,)),
    "tuple": (MAIN, AUX),
    "list": [MAIN, AUX, THIRD],
    "nested": (MAIN, [AUX, None, (THIRD,)]),
}


@pytest.mark.parametrize("output", WITHOUT_AUX.values(), ids=WITHOUT_AUX)
def test_logits_are_found(output):
    assert output_logits(output) is MAIN
    assert split_output(output).auxiliary == ()


@pytest.mark.parametrize("output", WITH_AUX.values(), ids=WITH_AUX)
def test_auxiliary_logits_are_found_in_their_order(output):
    found = split_output(output)
    assert found.logits is MAIN
    assert len(found.auxiliary) in (1, 2)
    assert all(part is expected for part, expected in zip(found.auxiliary, (AUX, THIRD), strict=False))


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ({"seg": MAIN, "n": 3}, "dict {'seg': Tensor (2, 3, 8, 8), 'n': int}"),
        ({"out": [MAIN]}, "dict {'out': list (Tensor (2, 3, 8, 8))}"),
        ([], "list ()"),
        ((None, MAIN), "tuple (NoneType, Tensor (2, 3, 8, 8))"),
        (None, "NoneType"),
        (SimpleNamespace(masks=MAIN), "SimpleNamespace"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_anything_else_is_described(output, shown):
    with pytest.raises(ConfigError) as raised:
        output_logits(output)
    first, advice = str(raised.value).splitlines()
    assert first == f"the model returned {shown}"
    assert advice.startswith("   -> a model returns its logits (N, num_classes, h, w): as a tensor, as 'out'")


@pytest.mark.parametrize("other", [torch.zeros(2, 64, 8, 8), torch.zeros(()), "features"])
def test_features_are_not_taken_for_auxiliary_logits(other):
    with pytest.raises(
        ConfigError, match=r"^the model returned tuple \(Tensor \(2, 3, 8, 8\), .*\n   -> auxiliary"
    ):
        split_output((MAIN, other))


class Net(nn.Module):
    """A layer, whose logits are given in some form."""

    def __init__(self, form):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.form = nn.Conv2d(3, 3, 1), form

    def forward(self, image):
        return self.form(self.layer(image))


FORMS = {
    "dict": lambda logits: {"logits": logits},
    "object": lambda logits: SimpleNamespace(logits=logits),
    "tuple": lambda logits: (logits, -logits),
    "list": lambda logits: [logits, -logits, -logits],
}


def score(form):
    image = torch.randint(0, 256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    batch = {"image": image, "target": image[:, 0] % 3, "name": ["a", "b"]}
    model, device = Net(form), torch.device("cpu")
    return evaluate(
        lambda image: model(image / 255), model, [batch], num_classes=3, ignore_index=255, device=device
    )


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_scored_alike(form):
    expected, found = score(lambda logits: logits), score(form)
    assert torch.equal(found.matrix, expected.matrix) and found.ce == expected.ce


def test_scoring_what_is_not_understood():
    with pytest.raises(ConfigError, match=r"^the model returned dict \{'seg': Tensor \(2, 3, 8, 8\)\}"):
        score(lambda logits: {"seg": logits})
