"""What every registered model must do; a new model is covered by being registered.

The images are tiny and each network is built once, so that eight models, the largest of 61 M parameters, take
seconds.
"""

import copy
import inspect

import pytest
import torch

from segkit.registry import MODELS

NUM_CLASSES = 5
#: Those of other libraries have tests of their own, in extras/.
EXTRAS = ["hf", "smp", "timm"]
NAMES = [name for name in MODELS.names() if name not in EXTRAS]
#: Copies of a network are made of these only: the others share their code, and cost memory and time.
LIGHT = [name for name in NAMES if "resnet" not in name]


def is_deeper(name):
    """Whether it is another one with more layers of the same kind: for `make test-heavy`."""
    return "resnet101" in name


EVERY = [pytest.param(name, marks=pytest.mark.heavy) if is_deeper(name) else name for name in NAMES]


@pytest.fixture(scope="module", params=EVERY)
def model(request):
    return build(request.param)


def build(name, *, seed=0, in_channels=3, num_classes=NUM_CLASSES, **params):
    torch.manual_seed(seed)
    return MODELS.get(name)(num_classes, in_channels, **params)


def random_image(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def outputs_of(output):
    """The output as a dict, whichever of the two forms the model returns."""
    return output if isinstance(output, dict) else {"out": output}


def is_scaled(size, logits_size):
    """Whether a model that halves the size (rounding up) some number of times makes one of the other."""
    while size > logits_size:
        size = (size + 1) // 2
    return size == logits_size


def test_the_names_are_known():
    assert sorted([*NAMES, *EXTRAS]) == MODELS.names()
    assert NAMES == [
        "deeplabv3_mobilenet_v3_large",
        "deeplabv3_resnet101",
        "deeplabv3_resnet50",
        "fcn_resnet101",
        "fcn_resnet50",
        "light_fpn",
        "lraspp_mobilenet_v3_large",
        "unet",
    ]


@pytest.mark.parametrize("name", EVERY)
def test_defaults_need_only_the_number_of_classes(name):
    required = [
        parameter.name
        for parameter in inspect.signature(MODELS.get(name)).parameters.values()
        if parameter.default is parameter.empty
    ]
    assert required == ["num_classes"]


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (7, 1), (1, 1)], ids=str)
def test_logits_for_any_size(model, size):
    model.eval()
    with torch.no_grad():
        outputs = outputs_of(model(random_image(2, 3, *size)))
    assert set(outputs) <= {"out", "aux"}
    for name, logits in outputs.items():
        assert logits.shape[:2] == (2, NUM_CLASSES), name
        assert is_scaled(size[0], logits.shape[2]) and is_scaled(size[1], logits.shape[3]), (
            name,
            logits.shape,
        )
        assert logits.isfinite().all(), name


def test_gradient_reaches_every_parameter(model):
    model.train()
    model.zero_grad(set_to_none=True)
    outputs = outputs_of(model(random_image(2, 3, 33, 47)))
    # Random weights: the plain sum of a normalised map does not depend on what came before it.
    sum((random_image(*logits.shape) * logits).sum() for logits in outputs.values()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    model.zero_grad(set_to_none=True)
    assert without == []


def test_images_of_a_batch_do_not_meet_in_eval_mode(model):
    model.eval()
    image = random_image(2, 3, 32, 40)
    with torch.no_grad():
        both, alone = outputs_of(model(image)), outputs_of(model(image[1:]))
    for name in both:
        torch.testing.assert_close(both[name][1:], alone[name], rtol=1e-4, atol=1e-5)


def test_eval_mode_repeats_and_leaves_the_state_alone(model):
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items() if "running" in name}
    image = random_image(2, 3, 32, 32)
    with torch.no_grad():
        first, second = outputs_of(model(image)), outputs_of(model(image))
    assert all(torch.equal(first[name], second[name]) for name in first)
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_bf16_autocast_on_the_cpu(model):
    model.eval()
    image = random_image(2, 3, 32, 32)
    with torch.no_grad():
        exact = outputs_of(model(image))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = outputs_of(model(image))
    for name, logits in rounded.items():
        assert logits.dtype == torch.float32, name  # the last convolution does not round them
        assert (logits != logits.bfloat16()).any(), name
        error = (logits - exact[name]).norm() / exact[name].norm()
        assert 0 < error < 0.1, (name, error)  # what comes before it does


def test_channels_last_gives_the_same_logits(model):
    model.eval()
    image = random_image(2, 3, 32, 48)
    with torch.no_grad():
        plain = outputs_of(model(image))
        last = outputs_of(
            model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
        )
    model.to(memory_format=torch.contiguous_format)
    for name in plain:
        torch.testing.assert_close(plain[name], last[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("in_channels", [1, 4])
@pytest.mark.parametrize("name", EVERY)
def test_any_number_of_channels(name, in_channels):
    # On the meta device every layer is built and run, and no number is computed.
    with torch.device("meta"):
        output = build(name, in_channels=in_channels).eval()(torch.empty(2, in_channels, 33, 47))
    assert outputs_of(output)["out"].shape[:2] == (2, NUM_CLASSES)


@pytest.mark.parametrize("name", LIGHT)
def test_grey_images_train(name):
    model = build(name, in_channels=1).train()
    outputs_of(model(random_image(2, 1, 33, 47)))["out"].square().mean().backward()
    first = next(parameter for parameter in model.parameters() if parameter.dim() == 4)
    assert first.shape[1] == 1 and first.grad.any()


@pytest.mark.parametrize("name", LIGHT)
def test_the_seed_decides_the_weights(name):
    first, again, other = (build(name, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", LIGHT)
def test_state_dict_round_trip(name, tmp_path):
    source, target = build(name, seed=1), build(name, seed=2).eval()
    source.train()(random_image(2, 3, 32, 32))  # moves the running statistics off their initial values
    torch.save(source.state_dict(), tmp_path / "model.pt")
    target.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    image = random_image(2, 3, 32, 32, seed=1)
    with torch.no_grad():
        wanted, found = outputs_of(source.eval()(image)), outputs_of(target(image))
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


@pytest.mark.parametrize("name", LIGHT)
def test_a_deep_copy_is_independent(name):
    # An average of the weights starts as a copy.
    model = build(name)
    clone = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in model.parameters())
