"""Whether a processor computes in bf16: the times are planted."""

import pytest
import torch

from segkit.system.cpu import bf16


@pytest.fixture
def planted(monkeypatch):
    """Seconds that a convolution is to take, by its dtype; what was measured before is forgotten."""

    def plant(fp32: float, reduced: float, *, reduced_at_first: float | None = None) -> list[int]:
        clock, calls = [0.0], [0]
        seconds = {torch.float32: fp32, torch.bfloat16: reduced}

        def convolution(dtype):
            def call():
                calls[0] += 1
                disturbed = reduced_at_first is not None and dtype == torch.bfloat16 and calls[0] <= 30
                clock[0] += reduced_at_first if disturbed else seconds[dtype]

            return call

        monkeypatch.setattr(bf16, "_convolution", convolution)
        monkeypatch.setattr(bf16.time, "thread_time", lambda: clock[0])
        bf16.computes_bf16.cache_clear()
        return calls

    yield plant
    bf16.computes_bf16.cache_clear()


@pytest.mark.parametrize(
    ("fp32", "reduced", "found"), [(2.0, 1.0, True), (1.2, 1.0, False), (1.0, 3.0, False)]
)
def test_bf16_counts_where_it_is_clearly_faster(planted, fp32, reduced, found):
    planted(fp32, reduced)
    assert bf16.computes_bf16() is found


def test_what_other_programs_disturb_is_measured_again(planted):
    """On a busy machine one start in forty came to fp32, and two runs of an ablation to different precisions."""
    calls = planted(2.0, 1.2, reduced_at_first=1.7)
    assert bf16.computes_bf16() and calls[0] > 30


@pytest.mark.parametrize(("fp32", "reduced"), [(2.0, 1.0), (1.0, 2.2)])
def test_what_is_clear_is_measured_once(planted, fp32, reduced):
    calls = planted(fp32, reduced)
    assert bf16.computes_bf16() is (fp32 > reduced)
    assert calls[0] == 2 * (1 + bf16.ROUNDS)


def test_the_shortest_of_several_calls_counts(monkeypatch):
    clock, lengths = [0.0], iter([9.0, 5.0, 1.0, 7.0, 8.0])
    monkeypatch.setattr(bf16.time, "thread_time", lambda: clock[0])

    def call():
        clock[0] += next(lengths)

    assert bf16._shortest(call) == [1.0]  # and the first does not count


def test_measuring_leaves_no_trace():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    bf16.computes_bf16.cache_clear()
    assert bf16.computes_bf16() in (True, False)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_measured_is_a_convolution_with_both_gradients(dtype):
    with torch.no_grad(), torch.autocast("cpu"):  # whatever surrounds it
        image, weight = bf16._convolution(dtype)()
    assert image.dtype == weight.dtype == dtype
    assert image.shape[1] == weight.shape[1] == 32 and weight.abs().sum() > 0
