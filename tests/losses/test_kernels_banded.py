"""How a batch is cut into bands, that nothing of the size of the resized logits is there, who computes what."""

import functools
import sys

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from segkit.errors import ConfigError
from segkit.losses.kernels import banded, choice, choose_backend, upsampled_cross_entropy
from segkit.losses.kernels.geometry import cut_bands, find_runs, find_taps
from tests.losses import reference
from tests.losses.cases import make_batch

SIZES = [(5, 5), (1, 4), (4, 1), (2, 8), (3, 7), (7, 3), (97, 1000), (500, 777), (1000, 77), (16, 15)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size, new_size", SIZES)
def test_taps_are_those_of_torch(size, new_size, dtype):
    whole = find_taps(size, new_size, dtype=dtype, device=torch.device("cpu"))
    shares = torch.eye(size, dtype=dtype).view(1, size, 1, size)  # one place at a time
    expected = F.interpolate(shares, (1, new_size), mode="bilinear", align_corners=False)[0, :, 0].T
    # A share is what is left of a place up to `size`, rounded; some builds of torch round less often.
    atol = size * torch.finfo(dtype).eps
    torch.testing.assert_close(whole.matrix(slice(0, size)), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("size, new_size", SIZES)
def test_taps_are_those_of_the_loops(size, new_size):
    taps = find_taps(size, new_size, dtype=torch.float64, device=torch.device("cpu"))
    expected = torch.zeros(new_size, size, dtype=torch.float64)
    for place, parts in enumerate(reference.taps(size, new_size)):
        for old, share in parts:
            expected[place, old] += share
    torch.testing.assert_close(taps.matrix(slice(0, size)), expected)


@pytest.mark.parametrize("rows_per_band", [1, 2, 3, 8, 20, 100, 10_000])
@pytest.mark.parametrize("size, new_size", SIZES)
def test_bands_hold_every_row_once_and_what_it_is_made_of(size, new_size, rows_per_band):
    images = 3
    runs = find_runs(size, new_size, torch.float32)
    taps = find_taps(size, new_size, dtype=torch.float32, device=torch.device("cpu"))
    count = torch.zeros(images, new_size, dtype=torch.int64)
    for band in cut_bands(images, runs, rows_per_band=rows_per_band):
        count[band.images, band.rows] += 1
        part = taps.cut(band.rows)
        assert band.sources == slice(int(part.low.min()), int(part.high.max()) + 1)
        rows = (band.rows.stop - band.rows.start) * (band.images.stop - band.images.start)
        assert rows <= max(rows_per_band, 1)
        assert band.images.stop - band.images.start == 1 or band.rows == slice(0, new_size)
        inside = [row for run in band.runs for row in range(run.rows.start, run.rows.stop)]
        assert inside == list(range(band.rows.start, band.rows.stop))
        for run in band.runs:
            assert (taps.low[run.rows] == run.low).all() and (taps.high[run.rows] == run.high).all()
    assert (count == 1).all()


def test_bands_end_where_runs_end():
    """At stride 8 the first run has 4 rows, the others 8: no pair of old rows is read twice."""
    runs = find_runs(16, 128, torch.float32)
    starts = [band.rows.start for band in cut_bands(1, runs, rows_per_band=20)]
    assert starts == [0, 20, 36, 52, 68, 84, 100, 116]


def measure_saved(logits, target, *, backend: str) -> list[int]:
    """Bytes of each tensor that is kept from forward for backward."""
    saved = {}

    def pack(tensor):
        saved[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        ce = upsampled_cross_entropy(logits, target, ignore_index=255, backend=backend).ce
    ce.sum().backward()
    return sorted(saved.values())


def test_what_is_kept_for_backward_is_small():
    batch = make_batch((2, 19, 8, 16), (64, 128), dtype=torch.bfloat16)
    target = batch.target.to(torch.uint8)
    pixels = target.numel()
    logits_bytes = batch.logits.numel() * 2
    assert measure_saved(batch.logits, target, backend="banded") == sorted([pixels, logits_bytes, 4 * pixels])
    assert measure_saved(batch.logits, target, backend="reference")[-1] == 4 * 19 * pixels


class Watch(TorchDispatchMode):
    """Notes the elements of every tensor that an operation makes."""

    def __init__(self):
        super().__init__()
        self.made = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else [result]:
            if isinstance(made, torch.Tensor):
                self.made.add(made.untyped_storage().nbytes() // made.element_size())
        return result


@pytest.mark.parametrize("backend, times", [("banded", 1), ("reference", 19)])
def test_nothing_larger_than_a_band_is_ever_there(monkeypatch, backend, times):
    """Forward and backward: nothing has more elements than a band, the logits as given or a map of the pixels."""
    monkeypatch.setattr(banded, "BAND_BYTES", 4 * 30_000)
    batch = make_batch((2, 19, 16, 32), (128, 256))
    target = batch.target.byte()
    with Watch() as watch:
        ce = upsampled_cross_entropy(batch.logits, target, ignore_index=255, backend=backend).ce
        ce.sum().backward()
    assert batch.logits.numel() < 30_000 < target.numel()
    assert max(watch.made) == times * target.numel()


@pytest.mark.parametrize("size", [(8, 8), (32, 32)])
def test_confident_logits_make_no_denormal_numbers(size):
    """Arithmetic with them is many times slower; softmax itself makes some."""
    batch = make_batch((1, 4, 8, 8), size)
    batch.logits.data.sign_().mul_(40.0)  # 80 between classes: exp of it is normal, but not a millionth of it
    with Denormals() as denormals:
        ce, _ = upsampled_cross_entropy(batch.logits, batch.target, ignore_index=255, backend="banded")
        (ce.sum() / 1e6).backward()
    assert denormals.products > 0
    assert not denormals.found


class Denormals(TorchDispatchMode):
    """Counts the products that are made, and notes which have denormal numbers in them."""

    def __init__(self):
        super().__init__()
        self.products, self.found = 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = result.is_floating_point() if isinstance(result, torch.Tensor) else False
        if made and function.overloadpacket.__name__ in ("mul", "mul_", "bmm", "mm"):
            self.products += 1
            size = result.detach().abs()
            if ((size > 0) & (size < torch.finfo(size.dtype).tiny)).any():
                self.found.append(str(function))
        return result


@pytest.mark.parametrize("backend", ["direct", "banded", "numba"])
def test_a_second_derivative_is_refused(backend):
    batch = make_batch((1, 3, 2, 2), (4, 4))
    ce, _ = upsampled_cross_entropy(batch.logits, batch.target, ignore_index=255, backend=backend)
    with pytest.raises(RuntimeError) as error:
        torch.autograd.grad(ce.sum(), batch.logits, create_graph=True)
    assert str(error.value) == f"the {backend} cross-entropy has no second derivative -> backend: reference"


IDS, SMALL = torch.zeros(1, 4, 4, dtype=torch.int64), torch.zeros(1, 3, 2, 2)
#: With three classes just enough logits for `numba`.
MANY_IDS = IDS[:, :1, :1].expand(16, 128, 171)


@pytest.mark.parametrize(
    "logits, target, expected",
    [
        (SMALL, IDS, "banded"),
        (SMALL.bfloat16(), IDS.byte(), "banded"),
        (SMALL, IDS[:, :1], "banded"),
        (SMALL, IDS[:, :2, :2], "direct"),
        (SMALL.expand(16, 3, 2, 2), MANY_IDS, "numba banded"),
        (SMALL.expand(16, 3, 2, 2), MANY_IDS[:, :, 1:], "banded"),  # just below
        (SMALL[..., :1, :1].expand(16, 3, 128, 171), MANY_IDS, "numba direct"),
        (SMALL.double().expand(16, 3, 2, 2), MANY_IDS, "reference"),
        (SMALL.double(), IDS, "reference"),
        (SMALL, torch.zeros(1, 3, 4, 4), "reference"),
        (torch.zeros(2, 3, 7), torch.zeros(2, 7, dtype=torch.int64), "direct"),
        (torch.zeros(1, 3, 2, 2, device="meta"), IDS.to("meta"), "direct"),
    ],
)
def test_what_auto_chooses(logits, target, expected, monkeypatch):
    """With numba, and without."""
    with_numba, without = expected.split()[0], expected.split()[-1]
    assert choose_backend("auto", logits, target) == with_numba
    monkeypatch.setattr(choice, "refuse_numba", lambda: "numba is not installed")
    assert choose_backend("auto", logits, target) == without


def test_auto_takes_triton_where_its_kernels_run(monkeypatch):
    """As far as there is no GPU here: whatever device they are said to run on."""
    monkeypatch.setattr(choice, "triton_runs", lambda device: True)
    monkeypatch.setattr(choice, "_refuse_triton", lambda device, dtype=torch.float32: None)
    assert choose_backend("auto", SMALL, IDS) == "triton"
    assert choose_backend("auto", SMALL, IDS[:, :2, :2]) == "triton"
    assert choose_backend("auto", SMALL.double(), IDS) == "reference"
    assert choose_backend("auto", SMALL, torch.zeros(1, 3, 4, 4)) == "reference"
    assert choose_backend("auto", torch.zeros(2, 3, 7), torch.zeros(2, 7, dtype=torch.int64)) == "direct"
    tall = torch.empty(1, 1, 1, dtype=torch.uint8).expand(1, 2**28, 1)
    assert choose_backend("auto", SMALL, tall) == "numba"
    assert choose_backend("auto", SMALL, IDS[:, :0]) == "banded"  # which says what is wrong


def test_auto_does_without_triton_where_its_kernels_fail(monkeypatch):
    """No C compiler, an old driver ...: said once, and the losses are computed another way."""
    tried = []

    def fail(device):
        tried.append(device)
        raise OSError("no\n  C compiler")

    monkeypatch.setattr("segkit.losses.kernels.triton_cross_entropy.run_once", fail)
    monkeypatch.setattr(choice, "_refuse_triton", lambda device, dtype=torch.float32: None)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(choice, "_try_triton", functools.cache(choice._try_triton.__wrapped__))
    with pytest.warns(RuntimeWarning) as said:
        assert not choice.triton_runs(torch.device("cuda", 0))
    assert [str(each.message) for each in said] == [
        "Triton's kernels do not run on cuda:0 (OSError: no C compiler) -> backend: direct"
    ]
    assert not choice.triton_runs(torch.device("cuda", 0))
    assert len(tried) == 1
    assert not choice.triton_runs(torch.device("cpu"))
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not choice.triton_runs(torch.device("cuda", 1))
    assert len(tried) == 1


@pytest.mark.parametrize("backend", ["reference", "direct", "banded", "numba"])
def test_a_backend_by_name(backend):
    assert choose_backend(backend, SMALL, IDS) == backend
    other = SMALL.half() if backend == "numba" else SMALL.double()
    assert choose_backend(backend, other, IDS[:, :2, :2]) == backend


@pytest.mark.parametrize(
    "backend, logits, target, message",
    [
        (
            "fast",
            SMALL,
            IDS,
            "backend must be one of auto, reference, direct, banded, numba, triton, got 'fast'",
        ),
        (
            "banded",
            SMALL,
            torch.zeros(1, 3, 4, 4),
            "backend: banded, but it takes class ids, and the target is soft labels -> backend: auto",
        ),
        (
            "triton",
            torch.zeros(2, 3, 7),
            torch.zeros(2, 7, dtype=torch.int64),
            "backend: triton, but it takes logits (N, C, h, w), got (2, 3, 7) -> backend: auto",
        ),
        (
            "triton",
            SMALL.double(),
            IDS,
            "backend: triton, but it takes fp32, bf16 or fp16 logits, got torch.float64 -> backend: auto",
        ),
    ],
)
def test_a_backend_that_cannot(backend, logits, target, message):
    with pytest.raises(ValueError) as error:
        upsampled_cross_entropy(logits, target, ignore_index=255, backend=backend)
    assert str(error.value) == message
    # In a run it is a mistake in the configuration, and shown without a traceback.
    assert isinstance(error.value, ConfigError) == message.startswith("backend:")


def test_triton_without_a_gpu_or_without_triton(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match=r"^backend: triton, but Triton .+ -> backend: auto$"):
        choose_backend("triton", SMALL, IDS)
    name = "segkit.losses.kernels.triton_cross_entropy"
    monkeypatch.setitem(sys.modules, name, None)  # as if importing it failed
    monkeypatch.delattr("segkit.losses.kernels.triton_cross_entropy", raising=False)
    with pytest.raises(ValueError, match=r"^backend: triton, but it is not available: .+ -> backend: auto$"):
        choose_backend("triton", SMALL, IDS)
