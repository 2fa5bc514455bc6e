"""Two and three processes train as one does that sees the same batches."""

import pytest
import torch

from segkit.data.loading.sampler import EpochBatches
from tests.distributed import same_updates
from tests.paths import ROOT
from tests.processes import run_python


@pytest.fixture(
    scope="session",
    params=[same_updates.FEW, pytest.param(same_updates.MANY, marks=pytest.mark.heavy)],
    ids="{} updates".format,
)
def updates(request):
    """How many updates were made."""
    return request.param


@pytest.fixture(scope="session")
def saved(built_once, updates):
    """The folder in which the processes have saved what they found."""

    def run(folder):
        done = run_python("-m", "tests.distributed.same_updates", folder, str(updates), cwd=ROOT)
        assert done.returncode == 0, done.stderr

    return built_once(f"same_updates-{updates}", run)


@pytest.fixture(scope="session")
def several(saved):
    """What each of several processes finds, by their number, then a list by rank, then by case."""
    return {
        world: [torch.load(saved / f"{world}-{rank}.pt") for rank in range(world)]
        for world in same_updates.CASES_OF
    }


@pytest.fixture(scope="session")
def one(several):
    """What one process finds, by case."""
    return several[1][0]


EVERY = [(world, case) for world, cases in same_updates.CASES_OF.items() if world > 1 for case in cases]
every_case = pytest.mark.parametrize("world, case", EVERY)
#: Those that promise what one process does. Batch norm sees the parts of a batch.
same_case = pytest.mark.parametrize("world, case", [each for each in EVERY if each[1] != "batch norm"])
WHICH = ("evaluation", "alone")


@same_case
def test_every_update_has_the_loss_of_one_process(world, case, updates, one, several):
    losses = one[case]["losses"]
    assert len(losses) == updates and len(set(losses)) > updates / 2
    for found in several[world]:
        assert found[case]["losses"] == pytest.approx(losses, rel=1e-5, abs=1e-6)


@same_case
def test_the_weights_at_the_end_are_those_of_one_process(world, case, one, several):
    for name, value in several[world][0][case]["weights"].items():
        torch.testing.assert_close(
            value, one[case]["weights"][name], rtol=1e-4, atol=1e-4, msg=f"{case}: {name}"
        )


@every_case
def test_the_weights_are_the_same_bits_in_all_processes(world, case, several):
    for found in several[world][1:]:
        for name, value in found[case]["weights"].items():
            assert torch.equal(value, several[world][0][case]["weights"][name]), name


@every_case
def test_validation_counts_each_image_once_in_the_order_of_the_data(world, case, one, several):
    """To the bit what one process counts with the same weights; also with fewer images than processes."""
    for found in several[world]:
        evaluation, alone = (
            {k: found[case][f"{which} {k}"] for k in ("places", "names", "ce")} for which in WHICH
        )
        assert evaluation == alone
        assert evaluation["places"] == one[case]["alone places"]
        assert torch.equal(found[case]["evaluation matrices"], several[world][0][case]["alone matrices"])


@every_case
def test_what_is_sent_beside_the_gradients(world, case, updates, one, several):
    """Mining sends histograms, everything else a few numbers, and only `lovasz` what depends on the pixels."""
    mined = case in ("ohem_ce", "bootstrapped_ce", "pixel", "sum")
    for found in several[world]:
        sent = found[case]["sent"]
        assert len(sent) == updates and min(sent) > 0
        if case != "lovasz":
            assert max(sent) <= (1_000_000 if mined else 2_000)
    assert set(one[case]["sent"]) == {0}


def test_the_cases_are_ones_in_which_averaging_per_process_would_be_wrong():
    """In some updates one process has no valid pixel and another has some."""
    order = EpochBatches(20, batch_size=6, seed=0, num_batches=same_updates.FEW)
    for world in (2, 3):
        share = 6 // world
        empty = [
            [all(index % 2 for _, index in batch[n : n + share]) for n in range(0, 6, share)]
            for batch in order
        ]
        assert any(any(parts) and not all(parts) for parts in empty)
