"""Groups of devices: what is one, its share of the CPUs, the GPUs it sees, and how torchrun is started on it."""

import sys

import pytest
import torch

from segkit.ablation.running.estimate import count_iterations, time_run
from segkit.ablation.running.slots import Slot, make_slots, split_group
from segkit.ablation.running.state import inspect_plan
from segkit.errors import ConfigError


@pytest.fixture
def machine(monkeypatch):
    """Eight cores and four GPUs."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


def test_groups(machine):
    assert split_group("cuda:0,1") == split_group("cuda:0,cuda:1") == ("cuda:0", "cuda:1")
    assert split_group("cpu,cpu,cpu") == ("cpu",) * 3
    assert split_group("cuda:3") == ("cuda:3",)
    assert make_slots(["cuda:0,1", "cuda:2,3"], "auto") == [
        Slot("cuda:0,1", 2, processes=2),
        Slot("cuda:2,3", 2, processes=2),
    ]
    assert make_slots(["cpu,cpu"], "auto") == [Slot("cpu,cpu", 4, processes=2)]
    assert make_slots(["cpu,cpu,cpu", "cpu"], "auto") == [Slot("cpu,cpu,cpu", 2, processes=3), Slot("cpu", 2)]
    assert make_slots(["cuda:0", "cpu,cpu"], "auto") == [Slot("cuda:0"), Slot("cpu,cpu", 4, processes=2)]
    assert make_slots(["cpu," * 20 + "cpu"], "auto")[0].threads == 1


def test_two_runs_may_share_their_gpus(machine):
    """As two runs on one device may."""
    assert make_slots(["cuda:0,1", "cuda:1,0"], "auto")[1].device == "cuda:1,0"
    assert len(make_slots(["cuda:0", "cuda:0"], "auto")) == 2


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("cuda:0,0", r"--devices cuda:0,0: cuda:0 appears twice; every process needs a GPU of its own"),
        ("cuda:1,cuda:1", "cuda:1 appears twice"),
        ("cpu,cuda:1", r"--devices cpu,cuda:1: a group is of one kind -> cuda:0,1 or cpu,cpu"),
        ("cpu,1", "a group is of one kind"),
        ("cuda:0,4", r"device: cuda:4 but there are 4 GPUs, counted from cuda:0"),
        ("0,1", "--devices 0,1: expected a group of GPUs or of processes on the CPU -> cuda:0,1 or cpu,cpu"),
        ("cuda,cuda", "expected a group"),
        ("cpu,", "expected a group"),
        ("auto,auto", "expected a group"),
        ("mps,mps", "expected a group"),
        ("cuda:0,cpux", "expected a group"),
    ],
)
def test_what_is_no_group(machine, group, message):
    with pytest.raises(ConfigError, match=message):
        make_slots([group], "auto")


def test_torchrun_is_started_on_a_group_alone(machine):
    group, single = Slot("cuda:2,3", 2, processes=2), Slot("cuda:2")
    assert group.launcher == [
        *(sys.executable, "-P", "-m", "torch.distributed.run"),
        *("--standalone", "--nproc-per-node", "2", "--no-python"),
    ]
    assert (group.overrides, group.first_device) == (["device=cuda"], "cuda:2")
    assert Slot("cpu,cpu", 1, processes=2).overrides == ["device=cpu"]
    assert Slot("cpu,cpu", 1, processes=2).first_device == "cpu"
    assert (single.launcher, single.overrides, single.first_device) == ([], ["device=cuda:2"], "cuda:2")
    assert (Slot().launcher, Slot().overrides, Slot().first_device) == ([], [], None)


def test_gpus_that_a_group_sees():
    def visible(device, **variables):
        return Slot(device, 2, processes=device.count(",") + 1).environment(variables)

    assert visible("cuda:2,3")["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert visible("cuda:0,2", CUDA_VISIBLE_DEVICES="5, 3,7")["CUDA_VISIBLE_DEVICES"] == "5,7"
    assert visible("cuda:1,0", CUDA_VISIBLE_DEVICES="GPU-a,GPU-b")["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-a"
    assert "CUDA_VISIBLE_DEVICES" not in visible("cpu,cpu")
    assert visible("cpu,cpu", CUDA_VISIBLE_DEVICES="3")["CUDA_VISIBLE_DEVICES"] == "3"
    assert Slot("cuda:1").environment({"CUDA_VISIBLE_DEVICES": "5,3"}) == {"CUDA_VISIBLE_DEVICES": "5,3"}


def test_variables_that_the_user_chose_stay():
    group = Slot("cpu,cpu", 4, processes=2)
    assert group.environment({"A": "b"}) == {
        "A": "b",
        "OMP_NUM_THREADS": "4",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "100",
    }
    chosen = {"OMP_NUM_THREADS": "3", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "7"}
    assert group.environment(chosen) == chosen


TINY = ("data.size=32", "data.train_size=12", "data.val_size=4", "model.width=2", "model.depth=1")


def test_batch_that_a_group_cannot_share_is_found_before_anything_is_trained(small):
    plan = small(*TINY, "augment.crop_size=32", "train.batch_size=4")
    states = inspect_plan(plan)
    assert set(count_iterations(plan, states, [Slot("cpu,cpu", 1, processes=2), Slot()]).values()) == {20}
    with pytest.raises(ConfigError) as caught:
        count_iterations(plan, states, [Slot(), Slot("cpu,cpu,cpu", 1, processes=3)])
    assert str(caught.value) == (
        "variant ce, ohem: train.batch_size: 4 images, which all processes together see in an update, cannot be "
        "shared equally by 3\n   -> train.batch_size=3 or 6, or so many processes: 1, 2, 4"
    )


def test_synchronised_batch_normalisation_is_for_gpus(small, monkeypatch):
    plan = small(*TINY, "augment.crop_size=32", "train.batch_size=4", "train.sync_batchnorm=true")
    states = inspect_plan(plan)
    with pytest.raises(ConfigError, match=r"train\.sync_batchnorm: torch has .* on CUDA only"):
        count_iterations(plan, states, [Slot("cpu,cpu", 1, processes=2)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert set(count_iterations(plan, states, [Slot("cuda:0,1", 1, processes=2)]).values()) == {20}


def test_estimate_for_a_group_keeps_the_length_of_the_run(small, monkeypatch):
    """In epochs it would grow with the smaller batch of one process."""
    seen = []
    monkeypatch.setattr(
        "segkit.ablation.running.estimate._extrapolate",
        lambda experiment, plan, *, processes: seen.append(
            (experiment.batch_size, plan.iterations, processes)
        ),
    )
    plan = small(
        *TINY, "augment.crop_size=32", "train.batch_size=4", "train.iterations=null", "train.epochs=2"
    )
    time_run(plan.runs[0].config, Slot("cpu,cpu", 1, processes=2))
    time_run(plan.runs[0].config, Slot("cpu", 1))
    assert seen == [(2, 6, 2), (4, 6, 1)]
