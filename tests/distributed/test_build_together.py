"""What is refused before several processes train."""

import itertools

import pytest
import torch
from torch import nn

from segkit.data.loading.loader import train_batches, val_batches
from segkit.data.loading.sampler import EpochBatches
from segkit.distributed.ranks import ALONE, Ranks, launched_ranks
from segkit.errors import ConfigError
from segkit.models.unet import UNet
from segkit.registry import AUGMENTS, DATASETS, MODELS
from segkit.system.device import choose_device, default_workers
from segkit.training.parallel import refuse_unequal_parts, require_all_gradients, synchronise_batchnorm


def test_one_process_needs_nobody():
    numbers = torch.arange(3.0)
    assert ALONE.main and ALONE.share(5) == 5 and ALONE.gather(5) == [5] and ALONE.mean(numbers) is numbers
    assert ALONE.vote(143) == 143 and ALONE.end_vote() == 0 and not ALONE.launcher_gone
    error = ValueError("x")
    assert ALONE.fail(error) is error


def test_the_environment_says_who_this_is(monkeypatch):
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="but not MASTER_ADDR, MASTER_PORT\n   -> start with torchrun"):
        launched_ranks()
    monkeypatch.setenv("MASTER_ADDR", "x")
    monkeypatch.setenv("MASTER_PORT", "1")
    ranks = launched_ranks()
    assert (ranks.rank, ranks.world, ranks.local, ranks.local_world) == (5, 8, 1, 4) and not ranks.main
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launched_ranks().world == 1


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_the_parts_of_a_batch_are_the_batch(world):
    def batches(rank, world):
        return EpochBatches(10, batch_size=6, seed=3, start_batch=1, num_batches=4, rank=rank, world=world)

    parts = [list(batches(rank, world)) for rank in range(world)]
    assert [list(itertools.chain(*each)) for each in zip(*parts, strict=True)] == list(batches(0, 1))
    with pytest.raises(ValueError, match="a batch of 6 images cannot be shared equally by 4 processes"):
        batches(0, 4)


def test_validation_images_are_dealt_out_in_groups_none_twice():
    data = DATASETS.get("shapes")(split="val", size=32, val_size=7)
    options = {"batch_size": 2, "workers": 0}
    whole = [batch["name"] for batch in val_batches(data, **options)]
    parts = [[batch["name"] for batch in val_batches(data, **options, rank=r, world=3)] for r in range(3)]
    assert parts == [whole[0::3], whole[1::3], whole[2::3]]
    assert [list(val_batches(data, **options, rank=r, world=9)) for r in range(4, 9)] == [[]] * 5


def test_a_process_reads_only_its_part_of_a_training_batch():
    data = DATASETS.get("shapes")(split="train", size=32, train_size=8)
    options = {"augment": AUGMENTS.get("none")(), "batch_size": 4, "seed": 0, "num_batches": 1}
    whole = next(iter(train_batches(data, **options)))
    parts = [next(iter(train_batches(data, **options, rank=rank, world=2))) for rank in range(2)]
    assert torch.equal(torch.cat([part["image"] for part in parts]), whole["image"])
    assert list(itertools.chain(*(part["name"] for part in parts))) == whole["name"]


def test_a_batch_that_does_not_divide_is_refused_with_what_would():
    refuse_unequal_parts(12, 4, "train.batch_size")
    with pytest.raises(ConfigError) as error:
        refuse_unequal_parts(10, 4, "train.batch_size")
    assert str(error.value) == (
        "train.batch_size: 10 images, which all processes together see in an update, cannot be shared equally by 4\n"
        "   -> train.batch_size=8 or 12, or so many processes: 1, 2, 5, 10"
    )


def test_parameters_that_no_loss_depends_on_are_named():
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "aux": nn.Linear(2, 2), "frozen": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    model["used"](torch.ones(1, 2)).sum().backward()
    with pytest.raises(
        ConfigError, match=r"does not depend on these parameters of the model: aux\.weight, aux\.bias\n"
    ):
        require_all_gradients(model)
    model["aux"](torch.ones(1, 2)).sum().backward()
    require_all_gradients(model)


def test_batch_norm_over_processes_is_for_cuda():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for model, wanted, key in (
        (UNet(3, width=4, depth=1), True, "train.sync_batchnorm"),
        (UNet(3, width=4, depth=1, norm="sync"), False, "model.norm: sync"),
    ):
        with pytest.raises(
            ConfigError, match=f"{key}: torch has batch normalisation over processes on CUDA only"
        ):
            synchronise_batchnorm(model, cpu, wanted=wanted)
        found = synchronise_batchnorm(model, cuda, wanted=wanted)
        assert not any(type(module) is nn.BatchNorm2d for module in found.modules())
    plain = UNet(3, width=4, depth=1)
    assert synchronise_batchnorm(plain, cpu, wanted=False) is plain


class ActivatedNorm(nn.BatchNorm2d):
    def forward(self, input):
        return super().forward(input).relu()


class RenamedNorm(nn.BatchNorm2d):
    """One that does nothing of its own."""


def test_a_layer_that_does_more_than_normalise_is_not_replaced_by_one_that_does_not():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(ActivatedNorm(4)))
    with pytest.raises(ConfigError) as error:
        synchronise_batchnorm(model, torch.device("cuda"), wanted=True)
    assert str(error.value) == (
        "train.sync_batchnorm: 1.0 of the model is of the class ActivatedNorm, which does more than batch "
        "normalisation, and that would be lost\n   -> train.sync_batchnorm=false"
    )
    assert synchronise_batchnorm(model, torch.device("cuda"), wanted=False) is model
    found = synchronise_batchnorm(nn.Sequential(RenamedNorm(4)), torch.device("cuda"), wanted=True)
    assert type(found[0]) is nn.SyncBatchNorm


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", "resnet18"])
def test_batch_norm_over_processes_keeps_the_activations_of_timm(backbone):
    pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    model = MODELS.get("timm")(3, backbone=backbone).eval()
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = [level.clone() for level in model.backbone(image)]
        keys = list(model.state_dict())
        found = synchronise_batchnorm(model, torch.device("cuda"), wanted=True)
        assert list(found.state_dict()) == keys
        layers = [module for module in found.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        assert layers and all(isinstance(layer, nn.SyncBatchNorm) for layer in layers)
        for level, before in zip(found.backbone(image), expected, strict=True):
            assert torch.equal(level, before)


def test_every_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", local=1, local_world=2) == torch.device("cuda", 1)
    assert choose_device("cpu", local=1, local_world=2) == torch.device("cpu")
    with pytest.raises(
        ConfigError, match="cuda:0 is one device, and 2 processes want one each -> device=auto"
    ):
        choose_device("cuda:0", local=1, local_world=2)
    with pytest.raises(
        ConfigError, match="3 processes on this machine and 2 GPUs -> torchrun --nproc-per-node 2"
    ):
        choose_device("cuda", local=2, local_world=3)


def test_processes_share_the_cpus_of_a_machine(monkeypatch):
    monkeypatch.setattr("segkit.system.device.usable_cpus", lambda: 16)
    assert default_workers(torch.device("cuda"), share=8) == 2 and default_workers(torch.device("cuda")) == 8


def test_a_place_among_others_is_not_the_main_one():
    assert not Ranks(1, 2).main and Ranks(0, 2).main
