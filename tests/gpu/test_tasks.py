"""What the parts run, as far as it can be seen without a GPU: each notices what does not hold."""

import json
import sys

import pytest
import torch

from scripts.bench.losses.cuda_checks import rows_of_checks
from scripts.gpu.tasks import benches, check_losses, install, promises, resume, training
from segkit.commands.check_loss import Outcome, find_loss
from segkit.registry import LOSSES


def test_every_registered_loss_is_checked_and_again_with_triton():
    names = [name for name in LOSSES.names() if not name.startswith("wrong_")]
    cases = list(check_losses.cases(names, triton=True))
    assert {words[0] for words in cases} == set(names)
    assert {find_loss(words).loss.name for words in cases} == set(names)
    assert {words[0] for words in cases if words[-1] == "backend=triton"} >= {
        "ce",
        "ohem_ce",
        "bootstrapped_ce",
        "focal",
    }
    assert list(check_losses.cases(["ohem_ce"], triton=False)) == [["ohem_ce"]]


def test_a_loss_that_does_not_hold_is_told(monkeypatch, capsys):
    def check(words, device):
        holds = words != ["dice"]
        return [
            Outcome("order", "ties", "ties", True),
            Outcome("order", "image_order", "order", holds, "why"),
        ]

    monkeypatch.setattr(check_losses, "check", check)
    assert check_losses.main(["--device", "cpu"]) == 1
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith("found: ")]
    assert found == ["found: dice: image_order: why", "found: 1 of 4 checks do not hold"]


def test_kernels_that_refuse_fp64_are_not_blamed_for_it(monkeypatch):
    texts = {
        "by numba": "raises BackendError at choice.py:41: backend: numba, but it takes fp32, got torch.float64 -> auto",
        "else": "raises BackendError at choice.py:41: backend: triton, but it takes images up to 9 x 9",
        "wrong": "gradient 1 instead of 2 in torch.float64",
    }
    outcomes = [Outcome("gradient", name, "", False, text) for name, text in texts.items()]
    monkeypatch.setattr(
        check_losses, "run_checks", lambda subject: iter([*outcomes, Outcome("a", "none", "", None)])
    )
    assert [outcome.check for outcome in check_losses.check(["ce"], "cpu")] == ["else", "wrong"]


def test_a_promise_that_is_broken_is_told_and_none_is_no_success(capsys):
    assert promises.tell(rows_of_checks({"ce, triton": {"CUDA graph": ""}})) == 0
    assert promises.tell(rows_of_checks({"ce, triton": {"CUDA graph": "", "no host sync": "it waits"}})) == 1
    assert "found: ce, triton, no host sync: it waits\nfound: 1 of 2 do not hold" in capsys.readouterr().out
    assert promises.tell([]) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.tensor([1.0, 0.0]), torch.tensor([1.0, -0.0])),
        (torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)),
        (torch.zeros(2), torch.zeros(1, 2)),
        (torch.tensor(1.0), torch.tensor(1.0).nextafter(torch.tensor(2.0))),
        (1, 1.0),
        ("a", "b"),
    ],
)
def test_what_is_unlike_in_a_bit_is_unlike(one, other):
    assert resume.equal(one, one) and resume.equal(other, other) and not resume.equal(one, other)


def test_nan_of_the_same_bits_is_equal():
    assert resume.equal(torch.tensor([float("nan")]), torch.tensor([float("nan")]))


def test_two_checkpoints_are_compared_by_name(monkeypatch, tmp_path):
    states = {
        "one": {
            "config": {"log": "a"},
            "trainer": {"model": {"w": torch.ones(2)}, "best": [1, 2], "more": 1},
        },
        "other": {"config": {"log": "b"}, "trainer": {"model": {"w": torch.zeros(2)}, "best": [1, 3]}},
    }
    monkeypatch.setattr(resume, "list_checkpoints", lambda folder: [folder.parent.name])
    monkeypatch.setattr(resume, "load_checkpoint", states.__getitem__)
    assert resume.compare(tmp_path / "one", tmp_path / "one") == (4, [])
    compared, unlike = resume.compare(tmp_path / "one", tmp_path / "other")
    assert compared == 4 and unlike == ["trainer.more", "trainer.best.1", "trainer.model.w"]


@pytest.mark.parametrize(
    ("changes", "options", "problem"),
    [
        ({}, {}, ""),
        ({"finished": False}, {}, "it has not finished"),
        ({}, {"expect": "amp fp16"}, "train.log does not say 'amp fp16'"),
        ({}, {"least": 50.0}, "mIoU 40.0 where at least 50 was to be seen"),
    ],
)
def test_a_run_is_looked_at(changes, options, problem, tmp_path):
    last = {"iteration": 9, "mIoU": 0.4}
    summary = {"finished": True, "last": last, "images_per_second": 7.0, "memory_gb": 1.0, **changes}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "train.log").write_text("config    x\ndevice    a GPU  amp bf16\n")
    found, wrong = training.look(tmp_path, **{"expect": "amp bf16", "least": 40.0, **options})
    assert found == "mIoU 40.0 after 9 iterations, 7 img/s, 1.0 GB, a GPU amp bf16" and wrong == problem


def row(entry, quantity="time", value=1.0, *, bench="losses", baseline="F.cross_entropy", ratio=0.5):
    return {
        "bench": bench, "case": "8 x 8", "entry": entry, "baseline": baseline, "quantity": quantity,
        "ratio": ratio, "value": value, "note": "", "on_gpu": True,
    }  # fmt: skip


def test_what_was_measured_is_told_in_few_words():
    rows = [row("ce, triton", value=2.0), row("ce, direct", value=8.0), row("ohem_ce, triton")]
    rows += [row("ce, triton", "memory", 1.0), row("ce, direct", "memory", 10.0)]
    rows += [row("segkit, ce", bench="step", baseline="plain loop", ratio=1.04)]
    rows += [
        row("light_fpn (1 M parameters)", bench="models", baseline="unet", ratio=0.1),
        row("unet", baseline="unet"),
    ]
    bar = {"bar": 6, "verdict": "short", "limit": 0.35, "worst": {"ratio": 0.62}}
    assert list(benches.describe({"bars": [bar, {**bar, "verdict": "pass"}], "rows": rows})) == [
        "short of bar 6: 0.62 of at most 0.35",
        "8 x 8: ce, triton beside direct: time 0.25, memory 0.10",
        "8 x 8: segkit, ce 1.04 of plain loop",
        "8 x 8: light_fpn (1 M parameters) 0.10 of unet",
    ]


def test_kernels_that_were_not_measured_are_a_failure(monkeypatch, tmp_path, capsys):
    missing = {**row("ce, triton"), "ratio": None, "value": None, "note": "not available: no C compiler"}
    monkeypatch.setattr(benches, "bench", lambda *arguments: 0)
    words = ["name", "losses", "--", "--output", str(tmp_path)]
    for rows, status in (([row("ce, triton")], 0), ([missing], 1)):
        (tmp_path / "name.json").write_text(json.dumps({"bars": [], "rows": rows}))
        assert benches.main(words) == status
    assert capsys.readouterr().out == "found: not measured: ce, triton\n"


def test_what_cannot_be_installed_says_why(monkeypatch, tmp_path, capsys):
    done = []

    def pip(python, *words):
        done.append(words)
        return "-e" in words

    monkeypatch.setattr(install, "pip", pip)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/x-1-py3-none-any.whl").touch()
    assert install.main(tmp_path / "python", tmp_path / "wheels") == 1 and len(done) == 1

    assert install.holds([sys.executable, "-c", "pass"]) and capsys.readouterr().out == ""
    assert not install.holds([sys.executable, "-c", "import no_such_module"])
    assert capsys.readouterr().out.endswith(
        "\nfound: ModuleNotFoundError: No module named 'no_such_module'\n"
    )


def test_the_environment_sees_the_packages_of_the_machine(monkeypatch, tmp_path, capsys):
    """Also where the interpreter is that of an environment, as the one of the tests mostly is."""
    monkeypatch.setattr(install, "pip", lambda python, *words: False)
    monkeypatch.setattr(install, "NEEDED", ("yaml", "pydantic", "pytest"))
    assert install.main(tmp_path / "python", tmp_path / "none") == 0
    assert capsys.readouterr().out == "found: 0 wheels, and this checkout by PYTHONPATH alone\n"
