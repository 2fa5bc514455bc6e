"""How the kernels of the backend `numba` come to be: compiled once, kept on the disk; what happens without numba."""

import errno
import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from segkit.losses import PixelValues, pixel_cross_entropy
from segkit.losses.kernels import (
    BackendError,
    check_device,
    choice,
    choose_backend,
    numba_runs,
    upsampled_cross_entropy,
)
from segkit.losses.kernels.cpu import available, compiled, loops, threads
from segkit.losses.kernels.cpu.available import refuse_numba
from segkit.losses.selections import hardest_cpu, select_hardest
from tests.losses.cases import make_batch
from tests.paths import ROOT

LOOPS = ROOT / "segkit" / "losses" / "kernels" / "cpu" / "loops"
IDS, SMALL = torch.zeros(1, 4, 4, dtype=torch.int64), torch.zeros(1, 3, 2, 2)


@pytest.fixture
def numba_of(monkeypatch):
    """Another version of numba, or none."""

    def pretend(version: str | None) -> None:
        def find(name: str) -> str:
            if version is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(importlib.metadata, "version", find)
        refuse_numba.cache_clear()

    yield pretend
    refuse_numba.cache_clear()


@pytest.mark.parametrize(
    "version, reason",
    [
        (None, "numba is not installed"),
        ("0.60.0", "numba 0.60.0 is too old: it takes 0.61 or newer"),
        ("0.9.1rc2", "numba 0.9.1rc2 is too old: it takes 0.61 or newer"),
    ],
)
def test_without_numba(numba_of, recwarn, version, reason):
    numba_of(version)
    for ask in (
        lambda: choose_backend("numba", SMALL, IDS),
        lambda: check_device("numba", torch.device("cpu"), key="backend"),
    ):
        with pytest.raises(BackendError) as error:
            ask()
        assert str(error.value) == f"backend: numba, but {reason} -> pip install 'segkit[cpu]'"
    assert choose_backend("auto", SMALL.expand(512, 3, 2, 2), IDS[:, :1, :1].expand(512, 32, 32)) == "banded"
    assert not recwarn.list


@pytest.mark.parametrize("version", ["0.61.0", "0.68.1", "1.0"])
def test_new_enough(numba_of, version):
    numba_of(version)
    assert refuse_numba() is None


def test_the_oldest_version_is_that_of_the_extra():
    text = (ROOT / "pyproject.toml").read_text()
    oldest = ".".join(str(number) for number in available.OLDEST)
    assert f'cpu = ["numba>={oldest}"]' in text and f'"numba>={oldest}", ' in text


def test_on_another_device():
    with pytest.raises(BackendError) as error:
        choose_backend("numba", SMALL.to("meta"), IDS.to("meta"))
    assert str(error.value) == (
        "backend: numba, but it runs on a CPU, and these logits are on meta -> backend: auto"
    )
    with pytest.raises(BackendError, match=r"^loss\.backend: numba, but .+ on cuda -> loss\.backend: auto$"):
        check_device("numba", torch.device("cuda"), key="loss.backend")


@pytest.mark.parametrize("resized, instead", [(True, "banded"), (False, "direct")])
def test_where_it_does_not_compile(monkeypatch, resized, instead):
    """A numba that does not fit to NumPy, or to this Python: said once, and the losses are computed another way."""
    tried = []

    def fail():
        tried.append(resized)
        raise ImportError("Numba needs\n  another NumPy")

    name = "resized_kernels" if resized else "same_size_kernels"
    monkeypatch.setattr(compiled, name, fail)
    monkeypatch.setattr(choice, "_try_numba", functools.cache(choice._try_numba.__wrapped__))
    logits = SMALL.expand(512, 3, 2, 2) if resized else SMALL[..., :1, :1].expand(512, 3, 32, 32)
    target = IDS[:, :1, :1].expand(512, 32, 32)
    with pytest.warns(RuntimeWarning) as said:
        assert choose_backend("auto", logits, target) == instead
    assert [str(each.message) for each in said] == [
        "numba does not compile the losses here (ImportError: Numba needs another NumPy) -> "
        f"backend: {instead}"
    ]
    assert choose_backend("auto", logits, target) == instead
    assert len(tried) == 1


def test_where_the_search_for_the_hardest_does_not_compile(monkeypatch):
    """Said once, and the same pixels are found without."""
    ce, valid = torch.rand(1, 9, 11), torch.ones(1, 9, 11, dtype=torch.bool)
    monkeypatch.setattr(hardest_cpu, "FEW", -1)
    monkeypatch.setattr(hardest_cpu, "MANY", 0)
    expected = select_hardest(ce, valid, 20).share

    def fail():
        raise ImportError("Numba needs another NumPy")

    monkeypatch.setattr(compiled, "hardest_kernels", fail)
    monkeypatch.setattr(choice, "_try_numba", functools.cache(choice._try_numba.__wrapped__))
    with pytest.warns(RuntimeWarning) as said:
        found = [select_hardest(ce, valid, 20).share for _ in range(2)]
    assert [str(each.message) for each in said] == [
        "numba does not compile the search for the hardest pixels here (ImportError: Numba needs another NumPy) -> "
        "they are found without"
    ]
    assert torch.equal(found[0], expected) and torch.equal(found[1], expected)


def test_the_search_for_the_hardest_needs_numba_a_cpu_and_fp32(numba_of):
    assert numba_runs(torch.rand(3))
    assert not numba_runs(torch.rand(3, dtype=torch.float64))
    assert not numba_runs(torch.rand(3, device="meta"))
    numba_of(None)
    assert not numba_runs(torch.rand(3))


@pytest.mark.parametrize("error", [RuntimeError("cannot cache function: no locator"), OSError("disk full")])
def test_without_a_folder_to_keep_it_in(monkeypatch, error):
    asked = []

    def cfunc(signature, *, cache=False):
        asked.append(cache)
        if cache:
            raise error
        return lambda function: function

    monkeypatch.setattr(compiled, "cfunc", cfunc)
    monkeypatch.setattr(compiled, "_kept", [])

    class Function:
        address = 7

    assert compiled._compile(lambda version: Function()) == 7
    assert asked == [True, False]


def test_compiled_code_is_of_this_source(tmp_path):
    """numba looks at the file of the outermost function alone."""
    folder = Path(shutil.copytree(LOOPS, tmp_path / "loops"))
    version = compiled.read_version(LOOPS)
    assert compiled.read_version(folder) == version
    with (folder / "arithmetic.py").open("a") as file:
        file.write("#")
    assert compiled.read_version(folder) != version


MODULE = """
from segkit.losses.kernels.cpu.loops.arithmetic import int64s

def make(version):
    def run(address):
        int64s(address, 1)[0] = version

    return run
"""


def test_a_compilation_that_was_cut_short_leaves_no_older_code_to_run(tmp_path, monkeypatch):
    """Once the source has changed numba writes over the files of the older code, the list of them first."""
    from numba.core.caching import IndexDataCacheFile

    path = tmp_path / "kernels_of_a_test.py"
    path.write_text(MODULE)
    spec = importlib.util.spec_from_file_location("kernels_of_a_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(version):
        monkeypatch.setattr(compiled, "read_version", lambda folder: version)
        number = np.zeros(1, dtype=np.int64)
        threads.KERNEL(compiled._compile(module.make))(number.ctypes.data)
        return number[0]

    assert run(1) == 1
    path.write_text(f"{MODULE}# changed\n")
    with monkeypatch.context() as cut_short:
        cut_short.setattr(IndexDataCacheFile, "_save_data", lambda *_: None)
        run(2)
    assert run(2) == 2


COMPILE = """
import sys, time
from numba.core.ccallback import CFunc
from segkit.losses.kernels.cpu import compiled
sys.path.insert(0, sys.argv[1])
import kernels_of_a_test

compile_it = CFunc._compile_uncached

def say(self):
    time.sleep(1)
    print("compiled", flush=True)
    return compile_it(self)

CFunc._compile_uncached = say
print("ready", flush=True)
sys.stdin.readline()
compiled._compile(kernels_of_a_test.make)
"""


def test_of_processes_that_start_at_once_one_compiles(tmp_path):
    (tmp_path / "kernels_of_a_test.py").write_text(MODULE)
    command = [sys.executable, "-c", COMPILE, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    started = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0].split() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sorted(said) == [[], ["compiled"]]


@pytest.mark.parametrize("kept_in", [None, "elsewhere"], ids=["beside the source", "NUMBA_CACHE_DIR"])
def test_nobody_waits_for_ever(tmp_path, monkeypatch, kept_in):
    folder = tmp_path / (kept_in or "__pycache__")
    monkeypatch.setattr(compiled.config, "CACHE_DIR", str(folder) if kept_in else "")
    monkeypatch.setattr(compiled, "LONGEST_WAIT", 0.3)
    folder.mkdir()
    source, entered = tmp_path / "kernels.py", []
    with open(folder / "segkit_kernels.lock", "a") as lock:
        compiled.fcntl.flock(lock, compiled.fcntl.LOCK_EX)
        waited = []
        monkeypatch.setattr(compiled.time, "sleep", lambda seconds: waited.append(seconds))
        with compiled.take_turn(source, "run_1"):
            entered.append("after a while")
        assert waited
        waited.clear()
        (folder / "kernels.run_2-1.py311.1.nbc").touch()
        with compiled.take_turn(source, "run_2"):
            entered.append("what is there already")
        assert not waited
    monkeypatch.setattr(compiled, "LONGEST_WAIT", 1e9)
    with compiled.take_turn(source, "run_1"):
        entered.append("when the other has ended")
    assert len(entered) == 3 and not waited


def test_where_there_are_no_locks_each_compiles_for_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled.config, "CACHE_DIR", "")
    (tmp_path / "__pycache__").write_text("a file where the folder should be")
    entered = []
    with compiled.take_turn(tmp_path / "kernels.py", "run"):
        entered.append("no folder")

    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    with monkeypatch.context() as without:
        without.setattr(compiled.fcntl, "flock", refuse)
        (tmp_path / "other").mkdir()
        with compiled.take_turn(tmp_path / "other" / "kernels.py", "run"):
            entered.append("a disk that has none")
    monkeypatch.setattr(compiled, "fcntl", None)
    (tmp_path / "third").mkdir()
    with compiled.take_turn(tmp_path / "third" / "kernels.py", "run"):
        entered.append("a system that has none")
    assert len(entered) == 3 and not (tmp_path / "third" / "__pycache__").exists()


def test_files_of_compiled_code_are_named_by_source_and_processor(monkeypatch):
    name = compiled.name_files("forward", 1)
    assert name.startswith("forward_") and name == compiled.name_files("forward", 1)
    assert name != compiled.name_files("forward", 2)
    monkeypatch.setattr(compiled.config, "CPU_NAME", "generic")
    assert name != compiled.name_files("forward", 1)


def test_it_is_compiled_once():
    first = compiled.same_size_kernels()
    batch = make_batch()
    upsampled_cross_entropy(batch.logits, batch.target, ignore_index=255, backend="numba")
    assert compiled.same_size_kernels() is first
    assert "numba" in sys.modules


def test_what_nobody_asks_for_is_not_made():
    batch = make_batch(ignored=True)
    values = pixel_cross_entropy(batch.logits, batch.target, backend="numba")
    assert {"label", "class_weight"} & set(vars(values)) == set()
    expected = pixel_cross_entropy(batch.logits, batch.target, backend="reference")
    for name in ("label", "class_weight", "valid", "wrong"):
        assert torch.equal(getattr(values, name), getattr(expected, name)), name
    with pytest.raises(AttributeError, match=r"^'PixelValues' object has no attribute 'classes'$"):
        _ = values.classes
    assert isinstance(values, PixelValues)


def compiled_functions():
    """All functions that the kernels compile: of their modules, and those that these take from around them."""
    names = [module.name for module in pkgutil.walk_packages(loops.__path__, f"{loops.__name__}.")]
    waiting = [value for name in names for value in vars(importlib.import_module(name)).values()]
    found = {}
    while waiting:
        function = getattr(waiting.pop(), "py_func", None)
        if function is None or id(function) in found:
            continue
        found[id(function)] = function
        waiting += [cell.cell_contents for cell in function.__closure__ or ()]
        waiting += [
            value for name, value in function.__globals__.items() if name in function.__code__.co_names
        ]
    return list(found.values())


def test_no_two_compiled_functions_share_a_name():
    """Else code from the disk that two processes compiled is linked to one of them
    (findings/cached_code_of_two_closures.sh)."""
    functions = compiled_functions()
    names = [f"{function.__module__}.{function.__qualname__}" for function in functions]
    assert len(functions) > 50
    assert sorted(name for name in names if names.count(name) > 1) == []
