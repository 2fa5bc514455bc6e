"""Device, precision, memory format and normalisation, without needing a GPU: torch's answers are replaced."""

import os

import pytest
import torch
from torch import nn

from segkit.config.schema import OptimizerBlock
from segkit.errors import ConfigError
from segkit.system import device as device_module
from segkit.system.cpu.fp32_convolutions import Fp32Conv2d
from segkit.system.device import (
    Normalize,
    Precision,
    amp_for_predictions,
    choose_amp,
    choose_device,
    default_workers,
    describe_slow_amp,
    place,
    settled_amp,
)
from segkit.training.build_optimizer import build_optimizer


@pytest.fixture
def machine(monkeypatch):
    """Make torch believe in a machine: number of GPUs, CUDA version of its build, MPS, whether both compute in bf16."""

    def pretend(*, gpus: int = 0, cuda: str | None = "13.0", mps: bool = False, bf16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation
        )
        monkeypatch.setattr(device_module, "computes_bf16", lambda: bf16)

    return pretend


@pytest.mark.parametrize(
    ("found", "chosen"),
    [({}, "cpu"), ({"gpus": 2}, "cuda"), ({"mps": True}, "mps"), ({"gpus": 1, "mps": True}, "cuda")],
)
def test_auto_takes_the_fastest_there_is(machine, found, chosen):
    machine(**found)
    assert choose_device("auto") == torch.device(chosen)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps"])
def test_device_that_is_there_is_taken(machine, name):
    machine(gpus=2, mps=True)
    assert choose_device(name) == torch.device(name)


REFUSED = {
    "build without CUDA": (
        {"cuda": None},
        "cuda",
        "CUDA was asked for (device: cuda) but this torch has no CUDA support -> install the CUDA build, "
        "or device=cpu (--device cpu)",
    ),
    "no driver": (
        {},
        "cuda:1",
        "CUDA was asked for (device: cuda:1) but no usable GPU was found (does nvidia-smi list one?) "
        "-> mend the driver, or device=cpu (--device cpu)",
    ),
    "too few GPUs": ({"gpus": 2}, "cuda:2", "device: cuda:2 but there are 2 GPUs, counted from cuda:0"),
    "no MPS": (
        {},
        "mps",
        "MPS was asked for (device: mps) but this torch or this machine has none -> device=cpu (--device cpu)",
    ),
    "unknown to torch": ({}, "gpu", "device: 'gpu' is none of auto, cpu, cuda, cuda:N, mps"),
    "empty": ({}, "", "device: '' is none of auto, cpu, cuda, cuda:N, mps"),
    "not a number": ({"gpus": 1}, "cuda:x", "device: 'cuda:x' is none of auto, cpu, cuda, cuda:N, mps"),
    "known to torch only": ({}, "meta", "device: 'meta' is none of auto, cpu, cuda, cuda:N, mps"),
}


@pytest.mark.parametrize(("found", "name", "message"), REFUSED.values(), ids=REFUSED)
def test_device_that_is_not_there_is_refused(machine, found, name, message):
    machine(**found)
    with pytest.raises(ConfigError) as caught:
        choose_device(name)
    assert str(caught.value) == message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "kind", "bf16", "dtype"),
    [
        ("auto", "cpu", True, torch.bfloat16),
        ("auto", "cpu", False, None),
        ("auto", "mps", True, None),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float16),  # a GPU before Ampere only emulates bf16
        ("off", "cuda", True, None),
        ("off", "cpu", True, None),
        ("bf16", "cpu", False, torch.bfloat16),
        ("bf16", "cuda", False, torch.bfloat16),
        ("fp16", "cuda", True, torch.float16),
    ],
)
def test_precision(machine, name, kind, bf16, dtype):
    machine(gpus=1, mps=True, bf16=bf16)
    assert choose_amp(name, torch.device(kind)) is dtype


@pytest.mark.parametrize(("bf16", "auto"), [(True, "bf16"), (False, "off")])
def test_fp16_on_a_cpu_is_refused(machine, bf16, auto):
    machine(bf16=bf16)
    with pytest.raises(ConfigError) as caught:
        choose_amp("fp16", torch.device("cpu"))
    assert str(caught.value) == (
        "train.amp: fp16, but no CPU trains in it: gradients take tens to hundreds of times as long\n"
        f"   -> train.amp=auto, which is {auto} here"
    )


@pytest.mark.parametrize(
    ("name", "kind", "bf16", "dtype"),
    [
        ("fp16", "cpu", True, torch.bfloat16),  # trained on a GPU
        ("fp16", "cpu", False, None),
        ("bf16", "cpu", False, None),
        ("off", "cpu", True, None),
        ("fp16", "cuda", True, torch.float16),
        ("bf16", "cuda", False, torch.bfloat16),
    ],
)
def test_predictions_are_not_made_in_what_a_cpu_emulates(machine, name, kind, bf16, dtype):
    machine(gpus=1, bf16=bf16)
    assert amp_for_predictions(name, torch.device(kind)) is dtype


def test_a_run_that_began_in_what_is_emulated_here_says_how_to_leave_it(machine):
    machine(bf16=False)
    assert describe_slow_amp("bf16", torch.device("cpu"), kept=True) == [
        "the run began in bf16, which this processor only emulates, slower than fp32 -> "
        "train.amp=off --allow-change train.amp"
    ]


@pytest.mark.parametrize(
    ("name", "before", "settled"),
    [
        ("auto", None, "auto"),
        ("auto", Precision("cpu", "off"), "off"),
        ("auto", Precision("cuda", "fp16"), "auto"),  # the run came from a GPU
        ("bf16", Precision("cpu", "off"), "bf16"),
    ],
)
def test_auto_stays_what_it_was_on_the_same_kind_of_device(name, before, settled):
    assert settled_amp(name, torch.device("cpu"), before) == settled


@pytest.mark.parametrize(
    ("name", "kind", "bf16", "warned"),
    [
        ("bf16", "cpu", False, True),
        ("bf16", "cpu", True, False),
        ("off", "cpu", False, False),
        ("bf16", "cuda", False, False),
    ],
)
def test_emulated_precision_is_warned_of(machine, name, kind, bf16, warned):
    machine(gpus=1, bf16=bf16)
    expected = ["train.amp: bf16, which this processor only emulates, slower than fp32 -> train.amp=auto"]
    assert describe_slow_amp(name, torch.device(kind)) == (expected if warned else [])


@pytest.mark.parametrize(
    ("kind", "cpus", "workers"),
    [
        ("cpu", 1, 0),
        ("cpu", 2, 1),
        ("cpu", 3, 2),
        ("cpu", 64, 2),
        ("cuda", 1, 1),
        ("cuda", 4, 4),
        ("cuda", 64, 8),
    ],
)
def test_workers_leave_a_core_for_training_on_the_cpu(monkeypatch, kind, cpus, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cpus)), raising=False)
    assert default_workers(torch.device(kind)) == workers


@pytest.mark.parametrize(
    ("channels", "mean", "std"), [(3, [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]), (1, [0.5], [0.25])]
)
def test_normalised_images_equal_the_formula(channels, mean, std):
    image = torch.randint(
        0, 256, (2, channels, 5, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    result = Normalize(mean, std)(image)
    expected = (image.double() / 255 - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(
        1, -1, 1, 1
    )
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(1, 3, 7, 5), (2, 3, 64, 33), (3, 4, 1, 9), (0, 3, 4, 4), (1, 1, 0, 3)])
def test_strips_of_an_image_are_normalised_as_the_whole(channels_last, size, monkeypatch):
    image = torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    normalize = Normalize([0.4, 0.5, 0.6, 0.3][: size[1]], [0.21] * size[1], channels_last=channels_last)
    expected = ((image.float() - normalize.mean) / normalize.std).contiguous(
        memory_format=normalize.memory_format
    )
    for strip in (1, 1000, 2**20):
        monkeypatch.setattr(device_module, "STRIP", strip)
        found = normalize(image)
        assert torch.equal(found, expected) and found.is_contiguous(memory_format=normalize.memory_format)
        assert torch.equal(normalize(image.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalised_images_have_the_memory_format_asked_for(channels_last):
    normalize = Normalize([0.5] * 3, [0.5] * 3, channels_last=channels_last)
    result = normalize(torch.zeros(2, 3, 5, 6, dtype=torch.uint8))
    assert result.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert result.is_contiguous() is not channels_last


def test_normalisation_is_not_part_of_a_checkpoint():
    assert not Normalize([0.5], [0.25]).state_dict()


@pytest.fixture
def torch_settings(monkeypatch):
    """Puts torch's global switches back."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    torch.backends.cudnn.benchmark = benchmark
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.parametrize(
    ("determinism", "enabled", "warn_only", "workspace"),
    [("off", False, False, None), ("warn", True, True, None), ("strict", True, False, ":4096:8")],
)
def test_determinism_sets_torch_up(torch_settings, determinism, enabled, warn_only, workspace):
    torch.use_deterministic_algorithms(determinism == "off")  # what an earlier run in this process left
    place(
        nn.Conv2d(3, 4, 3), torch.device("cpu"), channels_last=False, compiled=False, determinism=determinism
    )
    assert torch.are_deterministic_algorithms_enabled() is enabled
    assert torch.is_deterministic_algorithms_warn_only_enabled() is warn_only
    assert torch.backends.cudnn.benchmark is not enabled
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == workspace


def test_placed_model_has_the_memory_format_and_the_values_it_had(torch_settings):
    model = nn.Conv2d(3, 4, 3)
    weight = model.weight.detach().clone()
    placed = place(model, torch.device("cpu"), channels_last=True, compiled=False, determinism="off")
    assert placed.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(placed.weight, weight)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_weight_cut_from_a_wider_one_is_trained_as_any_other(torch_settings, name):
    """torch's fused optimizers go through memory without looking at strides."""
    wide = torch.arange(48.0).reshape(6, 8)
    models = [nn.Linear(4, 6, bias=False) for _ in range(2)]
    models[0].weight = nn.Parameter(wide[:, :4])
    models[1].weight = nn.Parameter(wide[:, :4].clone())
    for model in models:
        place(model, torch.device("cpu"), channels_last=True, compiled=False, determinism="off")
        optimizer = build_optimizer(OptimizerBlock(name=name, params={"lr": 0.1}), model, torch.device("cpu"))
        for _ in range(2):
            model(torch.ones(1, 4)).sin().sum().backward()
            optimizer.step()
    assert torch.equal(models[0].weight, models[1].weight)
    assert torch.equal(wide, torch.arange(48.0).reshape(6, 8))


def test_a_weight_that_gets_its_shape_later_is_placed(torch_settings):
    model = place(
        nn.LazyConv2d(4, 3), torch.device("cpu"), channels_last=False, compiled=False, determinism="off"
    )
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def test_model_on_a_cpu_has_its_depthwise_convolutions_in_fp32(torch_settings):
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    placed = place(model, torch.device("cpu"), channels_last=False, compiled=False, determinism="off")
    assert isinstance(placed[0], Fp32Conv2d)


def test_compiled_model_keeps_its_names(torch_settings, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    placed = place(model, torch.device("cpu"), channels_last=False, compiled=True, determinism="off")
    assert compiled == [placed]
    assert list(placed.state_dict()) == ["0.weight", "0.bias"]


def test_a_machine_without_affinity_counts_its_cpus(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)  # Python may not know
    assert default_workers(torch.device("cpu")) == 0
