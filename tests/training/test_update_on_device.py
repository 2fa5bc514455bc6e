"""What one update does on a GPU, seen without one: whether the host waits, what is promoted, how much memory it takes.

Forward runs on fake CUDA tensors, under CUDA's autocast. Backward does not run on these without a driver, so the whole
update runs on the meta device, where logits in bf16 stand for autocast. Left out are fused optimizers, which refuse
that device, and fp16: GradScaler reads whether a gradient is infinite before every step, unless the optimizer is fused.
"""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

from scripts.gpu.launches import device_without_values
from segkit.registry import LOSSES, MODELS
from segkit.training.weights import MovingAverage
from tests.losses.triton_cases import import_kernels
from tests.on_the_device import Made, OnTheDevice
from tests.training.test_trainer import PLAN, make_trainer

import_kernels()  # the losses' import Triton, and other tests of this process need its interpreter

CLASSES, SIZE = 19, (2, 64, 64)  # more logits than the selection has bins
PIXELS = 2 * 64 * 64


class InBf16(nn.Module):
    """A model whose logits are in bf16, as under autocast."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return self.model(image).bfloat16()


def make_update(device, *, optimizer="adamw", loss="ohem_ce", backend="triton", **plan):
    """A trainer of a small U-Net, and a batch of two images, without values."""
    with torch.device(device):
        model = MODELS.get("unet")(CLASSES, 3, width=4, depth=2)
    model = InBf16(model) if device == "meta" else model
    parameters = list(model.parameters())
    optimizers = {
        "adamw": lambda: torch.optim.AdamW(parameters, lr=1e-3, foreach=True),
        "sgd": lambda: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, foreach=True),
    }
    plan = replace(PLAN, num_classes=CLASSES, **plan)
    trainer, _, _ = make_trainer(
        plan,
        model=model,
        loss=LOSSES.get(loss)(CLASSES, 255, backend=backend).to(device),
        optimizer=optimizers[optimizer](),
        device=torch.device(device),
    )
    image = torch.empty(SIZE[0], 3, *SIZE[1:], dtype=torch.uint8, device=device)
    return trainer, {"image": image, "target": torch.empty(SIZE, dtype=torch.uint8, device=device)}


@pytest.mark.parametrize("backend", ["triton", "direct"])
@pytest.mark.parametrize(
    ("optimizer", "plan"),
    [
        ("adamw", {}),
        ("sgd", {"clip_norm": 1.0}),
        ("adamw", {"clip_norm": 1.0, "ema_decay": 0.9, "accumulate": 2}),
    ],
    ids=["plain", "clipped", "clipped, averaged and accumulated"],
)
def test_an_update_never_waits(optimizer, plan, backend, monkeypatch):
    with device_without_values("meta"):
        trainer, batch = make_update("meta", optimizer=optimizer, backend=backend, **plan)
        monkeypatch.setattr(trainer, "autocast", nullcontext)
        for _ in range(3):  # the first makes the optimizer's state and the average, the second uses them
            with OnTheDevice():
                values = trainer.update([batch] * trainer.plan.accumulate)
            trainer.iteration += 1
    assert {"loss", "ce", "kept_fraction", "kept_class", "lr"} <= values.keys()


def test_the_average_of_torch_would_wait():
    """Why there is one of our own; where torch's no longer waits, it can go."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = nn.Linear(2, 2, device="meta")
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    average.update_parameters(model)
    with pytest.raises(AssertionError, match="copies between host and device"), OnTheDevice():
        average.update_parameters(model)


def test_the_average_is_that_of_torch():
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    model[0].float()  # two dtypes, beside the whole numbers of batch norm
    ours = MovingAverage(model, 0.9)
    torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(4):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.copy_(tensor + 3 * torch.rand(tensor.shape, dtype=torch.float64))
        ours.update_parameters(model)
        torchs.update_parameters(model)
        assert ours.state_dict().keys() == torchs.state_dict().keys()
        for name, expected in torchs.state_dict().items():
            if name.endswith("num_batches_tracked"):
                expected = model[1].num_batches_tracked  # a whole number, which is taken as it is
            assert torch.equal(ours.state_dict()[name], expected), name


def test_the_average_leaves_indices_and_masks_as_they_are():
    """Swin, BEiT and others look up the bias of a relative position by a buffer of whole numbers; the average of torch
    takes one of many of these for the one before, at every update."""
    model = nn.Linear(2, 2)
    model.register_buffer("index", torch.arange(200))
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]), persistent=False)
    model.register_buffer("flags", torch.tensor([True, False]))
    model.register_buffer("statistics", torch.zeros(1))
    for decay in (0.9, 0.9999):
        average = MovingAverage(model, decay)
        for n in range(20):
            model.flags.fill_(n % 2 == 1)
            model.statistics.fill_(n)
            average.update_parameters(model)
        for name in ("index", "mask", "flags"):
            assert torch.equal(average.module.get_buffer(name), model.get_buffer(name)), name
        assert 0 < average.module.statistics < 19


@pytest.fixture
def autocast_of_cuda(monkeypatch):
    """torch turns it off where it sees no GPU."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *given, **more: True)


@pytest.mark.parametrize("backend", ["triton", "direct"])
def test_forward_under_autocast(backend, autocast_of_cuda):
    with device_without_values("cuda:0"):
        trainer, batch = make_update("cuda:0", backend=backend, amp_dtype=torch.bfloat16)
        with OnTheDevice(), Made() as whole:
            trainer.total_loss(batch)
        logits = trainer.forward(trainer.model, batch["image"])
        with Made() as made:
            trainer.loss(logits, batch["target"], iteration=1)
    assert logits.dtype == torch.bfloat16, "autocast is on, and the loss is given what it makes"
    assert (torch.bfloat16, CLASSES * PIXELS) in whole.dtypes
    wide = {dtype for dtype, entries in made.dtypes if entries >= CLASSES * PIXELS}
    assert wide == ({torch.float32} if backend == "direct" else set())
    if backend == "triton":
        of_pixels = {dtype for dtype, entries in made.dtypes if entries >= PIXELS}
        assert of_pixels == {torch.float32, torch.bool}


#: Bytes of a pixel that a loss holds at once in forward: ce, its sum and whether it is wrong of the kernel (9), whether
#: it counts (1), its share (4), and the two's product (4).
FORWARD = 18
#: In backward, beside the gradient of the logits: the sum of the kernel, and the gradient of ce.
BACKWARD = 8


@pytest.mark.parametrize("stride", [1, 8])
@pytest.mark.parametrize("name", ["ce", "ohem_ce", "bootstrapped_ce"])
def test_memory_of_the_loss_beside_the_logits(name, stride):
    options = {"start_warm": 0, "end_warm": 0} if name == "bootstrapped_ce" else {}
    with device_without_values("meta"):
        loss = LOSSES.get(name)(CLASSES, 255, backend="triton", **options)
        logits = torch.empty(2, CLASSES, *(512 // stride,) * 2, dtype=torch.bfloat16, device="meta")
        logits.requires_grad_()
        target = torch.empty(2, 512, 512, dtype=torch.uint8, device="meta")
        with Made() as forward:
            value, _ = loss(logits, target, iteration=1)
        with forward:  # what is there already counts
            value.backward()
    in_forward, gradient = FORWARD * target.numel(), logits.numel() * logits.itemsize
    in_backward = BACKWARD * target.numel() + gradient
    assert forward.peak <= 1.001 * max(in_forward, in_backward)
