"""Two processes with a sharded model train as they do with all of it, and their checkpoints are the same."""

import copy

import pytest
import torch

from segkit.distributed.ranks import ALONE
from segkit.errors import SegkitError
from segkit.registry import DATASETS
from segkit.runs.checkpoint import check_plain
from tests.distributed import sharded_updates
from tests.distributed.same_updates import PatchyShapes, TwoPatchyShapes
from tests.distributed.sharded_updates import CASES, HALFWAY, RESUMED, UPDATES
from tests.paths import ROOT
from tests.processes import run_python

pytestmark = pytest.mark.heavy

EVERY = [
    *((case, "sharded") for case in CASES),
    *((case, f"{now} after {then}") for case in RESUMED for now, then in
      (("sharded", "sharded"), ("sharded", "whole"), ("whole", "sharded"))),
]  # fmt: skip
every_run = pytest.mark.parametrize("case, run", EVERY)
every_case = pytest.mark.parametrize("case", CASES)
SHARDED = [(case, run) for case, run in EVERY if run.startswith("sharded")]


@pytest.fixture(scope="session")
def found(built_once):
    """What both processes found: a list by rank, then by case, then by way of training."""

    def run(folder):
        done = run_python("-m", "tests.distributed.sharded_updates", folder, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    folder = built_once("sharded_updates", run)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@every_run
def test_every_update_has_the_loss_of_the_whole_model(case, run, found):
    losses = found[0][case]["whole"]["losses"]
    assert len(losses) == UPDATES and len(set(losses)) == UPDATES
    for each in found:
        assert each[case][run]["finished"]
        own = each[case][run]["losses"]
        assert len(own) == (UPDATES - HALFWAY if "after" in run else UPDATES)
        assert own == pytest.approx(losses[-len(own) :], rel=1e-6, abs=1e-6)


@every_run
def test_the_last_checkpoint_is_that_of_the_whole_model(case, run, found):
    """Names, types and shapes too, so that whatever reads one reads the other."""
    ours, theirs = (found[0][case][name]["states"][UPDATES] for name in (run, "whole"))
    check_plain(ours)
    assert list(ours) == list(theirs) and list(ours["model"]) == list(theirs["model"])
    assert type(ours["model"]) is type(theirs["model"])
    for name, value in theirs["model"].items():
        torch.testing.assert_close(ours["model"][name], value, rtol=2e-5, atol=2e-5, msg=name)
    kept = theirs["optimizer"]["state"]
    assert list(ours["optimizer"]["state"]) == list(kept)
    for number, values in kept.items():
        for key, value in values.items():
            torch.testing.assert_close(
                ours["optimizer"]["state"][number][key], value, rtol=1e-4, atol=1e-4, msg=f"{number} {key}"
            )


@pytest.mark.parametrize("case", RESUMED)
def test_resumed_it_is_the_same_to_the_bit(case, found):
    resumed, undisturbed = (found[0][case][run] for run in ("sharded after sharded", "sharded"))
    assert resumed["losses"] == undisturbed["losses"][HALFWAY:]
    for part in ("model", "optimizer"):
        pairs = zip(*(tensors(each["states"][UPDATES][part]) for each in (resumed, undisturbed)), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for part in parts for tensor in tensors(part)]


@pytest.mark.parametrize("case", [case for case in RESUMED if "dropout" not in case])
def test_one_process_goes_on_from_a_checkpoint_of_two(case, found, tmp_path, monkeypatch):
    made = {"patchy_shapes": PatchyShapes, "two_patchy_shapes": TwoPatchyShapes}
    monkeypatch.setattr(DATASETS, "_constructors", {**DATASETS._constructors, **made})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    after = copy.deepcopy(found[0][case]["sharded"]["states"][HALFWAY])
    alone = sharded_updates.Kept(case, ALONE, str(tmp_path), shard=False, after=after)
    torch.set_num_threads(threads)
    losses = found[0][case]["whole"]["losses"][HALFWAY:]
    assert alone.finished and alone.recorder.losses == pytest.approx(losses, rel=1e-5)
    step = [each["step"] for each in alone.trainer.optimizer.state.values() if "step" in each]
    assert all(float(each) == UPDATES for each in step)


@pytest.mark.parametrize("case, run", SHARDED)
def test_each_process_holds_half(case, run, found):
    for key in ("gradients", "moments"):
        whole = found[0][case]["whole"][key]
        parts = [each[case][run][key] for each in found]
        # One number that counts the updates of a weight is in both.
        assert whole <= sum(parts) <= whole + 200
        assert max(parts) < 0.51 * whole


@every_case
def test_the_main_process_alone_can_use_the_model_at_the_end(case, found):
    ours, theirs = (found[0][case][run]["ce"] for run in ("sharded", "whole"))
    assert ours == pytest.approx(theirs, rel=1e-4)


@every_case
def test_only_the_main_process_keeps_the_tensors_of_a_checkpoint(case, found):
    state = found[1][case]["sharded"]["states"][UPDATES]
    assert state["iteration"] == UPDATES and not any(each.numel() for each in tensors(state["model"]))


def test_all_start_from_the_weights_of_the_main_process(found):
    main, other = (each["start and refusal"] for each in found)
    for name, value in main["before"].items():
        assert torch.equal(main["after"][name], value) and torch.equal(other["after"][name], value)
        assert not torch.equal(other["before"][name], value)


def test_parameters_without_a_gradient_are_named(found):
    for each in found:
        assert each["start and refusal"]["refusal"].startswith(
            "the loss does not depend on these parameters of the model: "
            "block.left_out.weight, block.left_out.bias, spare.weight, spare.bias\n"
        )


def test_without_the_others_there_is_no_checkpoint():
    from segkit.distributed.shard import ShardedModel

    left = ShardedModel.__new__(ShardedModel)
    torch.nn.Module.__init__(left)
    left.ranks = ALONE
    with pytest.raises(
        SegkitError, match="put together by all its processes, and this one has left the others"
    ):
        left.join({})
