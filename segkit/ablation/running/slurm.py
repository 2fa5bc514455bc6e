"""An ablation as a Slurm job array: one task per run that is not finished, and the report behind them."""

import os
import shlex
import subprocess
from collections.abc import Sequence

from segkit.ablation.folder import AblationFiles
from segkit.ablation.plan.plan import AblationPlan
from segkit.ablation.running.commands import ablate_command, refuse_unequal_runs
from segkit.ablation.running.state import FINISHED, IN_USE, inspect_plan
from segkit.errors import ConfigError, SegkitError
from segkit.system.files import cannot_write, write_text
from segkit.system.typed import quote


def launch(
    plan: AblationPlan,
    *,
    options: Sequence[str],
    submit: bool,
    pdf: bool = False,
    gpus: int | None = None,
) -> int:
    """Print the job script; with `submit`, hand it and the report's to sbatch instead. `pdf` is for the report; each
    run is trained on `gpus` GPUs, None to leave that to the configuration and the `options` of sbatch."""
    runs = [state.run for state in inspect_plan(plan) if state.kind not in (FINISHED, IN_USE)]
    refuse_unequal_runs(runs, gpus or 1)
    names = [run.name for run in runs]
    if not names:
        command = f"{plan.command} --report{' --pdf' * pdf}"
        print(f"nothing to train: all {len(plan.runs)} runs are finished or in use\n   -> {command}")
        return 0
    script = job_script(plan, names, options=options, pdf=pdf, gpus=gpus)
    if not submit:
        print(script, end="")
        return 0
    path = plan.files.job_script
    try:
        plan.files.logs.mkdir(parents=True, exist_ok=True)  # sbatch does not make it
    except OSError as error:
        raise cannot_write(path, error) from error
    write_text(path, script)
    job = run_sbatch(["sbatch", "--parsable", str(path)])
    print(
        f"submitted {path} as job {job}, {len(names)} tasks; what they print: {plan.files.logs}/", flush=True
    )
    report = run_sbatch(report_command(plan, job, options=options, pdf=pdf))
    print(f"submitted the report as job {report}, after them: {plan.files.page}", flush=True)
    return 0


def job_script(
    plan: AblationPlan,
    names: Sequence[str],
    *,
    options: Sequence[str],
    pdf: bool = False,
    gpus: int | None = None,
) -> str:
    """The batch script that trains the runs `names`, one per task of the array, each on `gpus` GPUs of one node."""
    files, own = AblationFiles(plan.folder.absolute()), _option_words(options)
    devices = [] if gpus is None else ["--devices", ",".join(["cuda:0", *map(str, range(1, gpus))])]
    command = " ".join(map(quote, [*ablate_command(plan), *devices]))
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={plan.name}",
        f"#SBATCH --array=0-{len(names) - 1}",
        f"#SBATCH --output={quote(files.job_log)}",
        "#SBATCH --requeue",
        "#SBATCH --signal=B:TERM@120",
        *(f"#SBATCH {quote(word)}" for word in [*_gpu_options(gpus, own), *own]),
        "",
        f"# Before it is submitted by hand: mkdir -p {quote(str(files.logs))}   (Slurm does not make it)",
        f"# {len(names)} runs of the ablation {plan.name}, a task each. Two minutes before its time is over a task",
        "# gets SIGTERM: the run saves and ends, and the next submission of this ablation continues it.",
        f"cd {quote(os.getcwd())} || exit 1",
        f"runs=({' '.join(quote(name) for name in names)})",
        "# exec: the signal reaches the program itself, not a shell that would not pass it on",
        f'exec {command} --run "${{runs[$SLURM_ARRAY_TASK_ID]}}"',
        "",
        "# The report, behind all tasks however they end (JOB is what sbatch printed for this script):",
        "#   " + " ".join(map(quote, report_command(plan, "JOB", options=options, pdf=pdf))),
    ]
    return "\n".join(lines) + "\n"


def report_command(plan: AblationPlan, job: str, *, options: Sequence[str], pdf: bool = False) -> list[str]:
    """The sbatch command line of the job that writes the report when job `job` has ended."""
    command = shlex.join([*ablate_command(plan), "--report", *["--pdf"] * pdf])
    return [
        "sbatch",
        "--parsable",
        f"--dependency=afterany:{job}",
        f"--job-name={plan.name}-report",
        f"--output={AblationFiles(plan.folder.absolute()).report_job_log}",
        *_option_words(options),
        f"--wrap=cd {shlex.quote(os.getcwd())} && {command}",
    ]


def run_sbatch(command: Sequence[str]) -> str:
    """The id of the job that sbatch made. Raises ConfigError without sbatch, SegkitError if it refuses."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigError(
            "--submit: there is no sbatch on this machine\n"
            "   -> submit on a machine of the cluster, or without --submit print the script into a file"
        ) from None
    if done.returncode:
        raise SegkitError(f"sbatch refused the job (exit status {done.returncode}):\n{done.stderr.strip()}")
    return done.stdout.strip().partition(";")[0]  # `id;cluster` where there are several


def _gpu_options(gpus: int | None, options: Sequence[str]) -> list[str]:
    """One task on one node with so many GPUs, unless the user's `options` say which: the script starts the processes
    itself, without srun, and sees all GPUs that its job has on the node. (--gpus-per-task would do as well; sbatch
    refuses it unless --ntasks is there too.)"""
    if gpus is None:
        return []
    asked = any(word.startswith(("--gres=", "--gpus", "-G")) for word in options)
    return ["--nodes=1", "--ntasks=1", *([] if asked else [f"--gpus-per-node={gpus}"])]


def _option_words(options: Sequence[str]) -> list[str]:
    """`--partition=gpu --time=8:00:00` in words. Raises ConfigError for what is no option."""
    words = [word for text in options for word in shlex.split(text)]
    wrong = next((word for word in words if not word.startswith("-")), None)
    if wrong is not None:
        raise ConfigError(
            f"--slurm: {wrong!r} is no option of sbatch -> write --key=value with an equals sign"
        )
    return words
