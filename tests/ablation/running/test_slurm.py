"""The job array: its script as bash runs it, and what is handed to sbatch."""

import ast
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from segkit.ablation.running import commands, slurm
from segkit.cli.ablate import parse
from segkit.errors import ConfigError, SegkitError
from tests.processes import HANG_LIMIT, finish, wait_until

FAKE_ABLATE = """\
import signal, sys, time
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
open("called.txt", "w").write(repr(sys.argv[1:]))
while "wait" in sys.argv and not stopped: time.sleep(0.01)
sys.exit(143 if stopped else 0)
"""
SBATCH = """\
#!/bin/bash
printf '%s\\n' "$@" >> sbatch.txt
echo ---- >> sbatch.txt
[ -e refuse ] && { echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1; }
echo "4711;cluster"
"""


@pytest.fixture
def plan(small, monkeypatch):
    """The plan with an override, and an `ablate.py` that notes how it was called."""
    Path("fake ablate.py").write_text(FAKE_ABLATE)
    fake = [sys.executable, str(Path("fake ablate.py").absolute())]
    monkeypatch.setattr(commands, "started", lambda command: fake)
    return small("train.iterations=9")


@pytest.fixture
def sbatch(plan, monkeypatch):
    """An sbatch that notes how it was called; returns a function that gives the calls."""
    Path("bin").mkdir()
    Path("bin/sbatch").write_text(SBATCH)
    Path("bin/sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{os.environ['PATH']}")
    return lambda: [call.splitlines() for call in Path("sbatch.txt").read_text().split("----\n")[:-1]]


def test_script(plan, capsys):
    here, python = Path.cwd(), sys.executable
    plan = replace(plan, imports=("my.py",))
    assert slurm.launch(plan, options=["--partition=gpu --time=8:00:00"], submit=False) == 0
    command = (
        f"{python} '{here}/fake ablate.py' --config ab.yaml --import my.py train.iterations=9 --seeds 0 1"
    )
    assert (
        capsys.readouterr().out
        == f"""\
#!/bin/bash
#SBATCH --job-name=ab
#SBATCH --array=0-3
#SBATCH --output={here}/runs/ab/logs/slurm-%A_%a.out
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --partition=gpu
#SBATCH --time=8:00:00

# Before it is submitted by hand: mkdir -p {here}/runs/ab/logs   (Slurm does not make it)
# 4 runs of the ablation ab, a task each. Two minutes before its time is over a task
# gets SIGTERM: the run saves and ends, and the next submission of this ablation continues it.
cd {here} || exit 1
runs=(ce-seed0 ohem-seed0 ce-seed1 ohem-seed1)
# exec: the signal reaches the program itself, not a shell that would not pass it on
exec {command} --run "${{runs[$SLURM_ARRAY_TASK_ID]}}"

# The report, behind all tasks however they end (JOB is what sbatch printed for this script):
#   sbatch --parsable --dependency=afterany:JOB --job-name=ab-report --output={here}/runs/ab/logs/slurm-report.out \
--partition=gpu --time=8:00:00 {shlex.quote(f"--wrap=cd {here} && {command} --report")}
"""
    )
    assert not Path("runs").exists()


def test_task_trains_its_run(plan):
    script = slurm.job_script(plan, [run.name for run in plan.runs], options=[])
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "SLURM_ARRAY_TASK_ID": "2"}, timeout=HANG_LIMIT
    )
    assert done.returncode == 0
    called = ["--config", "ab.yaml", "train.iterations=9", "--seeds", "0", "1", "--run", "ce-seed1"]
    assert Path("called.txt").read_text() == repr(called)
    args = parse(called)
    assert (args.run, args.seeds, args.overrides) == ("ce-seed1", [0, 1], ["train.iterations=9"])


def test_signal_of_slurm_reaches_the_program(plan):
    script = slurm.job_script(plan, ["wait"], options=[])
    process = subprocess.Popen(["bash", "-c", script], env={**os.environ, "SLURM_ARRAY_TASK_ID": "0"})
    called = Path("called.txt")
    wait_until(lambda: called.exists() and called.read_text(), lambda: process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    finish(process)
    assert process.returncode == 143


def test_several_gpus_for_each_run(plan):
    script = slurm.job_script(plan, ["ce-seed0"], options=["--time=1"], gpus=4)
    assert "\n#SBATCH --nodes=1\n#SBATCH --ntasks=1\n#SBATCH --gpus-per-node=4\n#SBATCH --time=1\n" in script
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "SLURM_ARRAY_TASK_ID": "0"}, timeout=HANG_LIMIT
    )
    args = parse(ast.literal_eval(Path("called.txt").read_text()))
    assert (done.returncode, args.run, args.devices) == (0, "ce-seed0", ["cuda:0,1,2,3"])
    one = slurm.job_script(plan, ["ce-seed0"], options=[], gpus=1)
    assert "--gpus-per-node=1\n" in one and "--devices cuda:0 --run" in one


@pytest.mark.parametrize("options", ["--gres=gpu:a100:2", "--gpus=2", "--gpus-per-task=2", "-G2"])
def test_gpus_that_the_user_asks_for_are_not_asked_for_twice(plan, options):
    script = slurm.job_script(plan, ["ce-seed0"], options=[options], gpus=2)
    assert f"#SBATCH --ntasks=1\n#SBATCH {options}\n" in script and "--gpus-per-node" not in script


def test_batch_that_the_gpus_cannot_share_is_refused_before_the_job_waits(plan, capsys):
    with pytest.raises(ConfigError) as caught:
        slurm.launch(plan, options=[], submit=False, gpus=3)
    assert str(caught.value).startswith("variant ce, ohem: train.batch_size: 16 images, which all processes ")
    assert capsys.readouterr().out == ""


def test_pdf_is_for_the_report_alone(plan):
    script = slurm.job_script(plan, ["ce-seed0"], options=[], pdf=True)
    assert "--report --pdf" in script and script.count("--pdf") == 1


def test_submitting(plan, sbatch, capsys):
    assert slurm.launch(plan, options=["--gres=gpu:1"], submit=True) == 0
    array, report = sbatch()
    assert array == ["--parsable", "runs/ab/slurm.sh"]
    assert report[:2] == ["--parsable", "--dependency=afterany:4711"]
    assert "--gres=gpu:1" in report and report[-1].endswith("--seeds 0 1 --report")
    assert Path("runs/ab/slurm.sh").read_text().startswith("#!/bin/bash\n#SBATCH --job-name=ab\n")
    assert Path("runs/ab/logs").is_dir()
    assert capsys.readouterr().out == (
        "submitted runs/ab/slurm.sh as job 4711, 4 tasks; what they print: runs/ab/logs/\n"
        "submitted the report as job 4711, after them: runs/ab/report.html\n"
    )


def test_sbatch_that_refuses(plan, sbatch):
    Path("refuse").touch()
    with pytest.raises(SegkitError) as caught:
        slurm.launch(plan, options=[], submit=True)
    assert str(caught.value) == (
        "sbatch refused the job (exit status 1):\nsbatch: error: invalid partition specified: gpu"
    )


def test_no_sbatch(plan, monkeypatch):
    monkeypatch.setenv("PATH", str(Path("nothing").absolute()))
    with pytest.raises(ConfigError) as caught:
        slurm.launch(plan, options=[], submit=True)
    assert str(caught.value) == (
        "--submit: there is no sbatch on this machine\n"
        "   -> submit on a machine of the cluster, or without --submit print the script into a file"
    )


def test_options_without_dashes(plan):
    with pytest.raises(ConfigError) as caught:
        slurm.launch(plan, options=["--partition gpu"], submit=False)
    assert (
        str(caught.value) == "--slurm: 'gpu' is no option of sbatch -> write --key=value with an equals sign"
    )


def test_nothing_left(plan, monkeypatch, capsys):
    monkeypatch.setattr(slurm, "inspect_plan", lambda plan: [])
    assert slurm.launch(plan, options=[], submit=True) == 0
    assert capsys.readouterr().out == (
        "nothing to train: all 4 runs are finished or in use\n"
        "   -> python scripts/ablate.py --config ab.yaml train.iterations=9 --report\n"
    )


def test_options_with_several_values_do_not_take_overrides():
    args = parse(["--config", "a", "--devices", "cpu", "cpu", "x.y=1", "--seeds", "3", "4", "z=2"])
    assert (args.devices, args.seeds, args.overrides) == (["cpu", "cpu"], [3, 4], ["x.y=1", "z=2"])
    assert parse(["--config", "a"]).seeds is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "a"], "--seeds: expected integers"),
        (["--submit"], "--submit, --slurm and --gpus-per-run belong to --launcher slurm"),
        (["--gpus-per-run", "2"], "--submit, --slurm and --gpus-per-run belong to --launcher slurm"),
        (["--launcher", "slurm", "--gpus-per-run", "0"], "expected a number of GPUs, 1 or more, got 0"),
        (
            ["--launcher", "slurm", "--devices", "cuda:0,1"],
            "--gpus-per-run N asks for several GPUs for each run",
        ),
        (["--slurm", "--time=1"], "expected one argument"),
    ],
)
def test_usage(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        parse(["--config", "a", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
