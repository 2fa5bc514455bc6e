"""The names of all files in the folder of an ablation and in that of a report: written and read under these alone."""

from pathlib import Path

from segkit.system.entries import Entry, NamedFolder
from segkit.system.run_files import list_runs_in


class ReportFiles(NamedFolder):
    """Where the parts of a report are: of an ablation, or of runs that are compared."""

    page = Entry("report.html", "The report in one file, pictures inside.")
    markdown = Entry("report.md", "The report as text; its pictures are in `figures`.")
    csv = Entry("report.csv", "A row per run.")
    differences_csv = Entry(
        "differences.csv", "A row per variant: its difference to the baseline, and the verdict."
    )
    differences_json = Entry("differences.json", "The same, for another program.")
    latex = Entry("report.tex", "The tables for a paper.")
    figures = Entry("figures", "The folder of the figures, as .png and, if asked for, .pdf.")


class AblationFiles(ReportFiles):
    """Where the files of an ablation are: its report, and what its runs share. A run's folders lie below its name."""

    logs = Entry("logs", "The folder of what the runs and their jobs print.")
    configs = Entry("configs", "The folder of the configurations that the runs were started with.")
    locks = Entry("locks", "The folder of the locks that whoever trains a run holds.")
    tracking = Entry("tracking", "What `log.wandb` and `log.mlflow` keep of the report.")
    resolved = Entry(
        "resolved.json", "What the variants are with every default filled in, for a report without torch."
    )
    lock = Entry(".lock", "Held by the process that trains all runs and reports.")
    job_script = Entry("slurm.sh", "The job script that was submitted.")

    def log(self, run: str) -> Path:
        """What the run of that name prints."""
        return self.logs / f"{run}.log"

    def config(self, run: str) -> Path:
        """What the run of that name is started with."""
        return self.configs / f"{run}.yaml"

    def run_lock(self, run: str) -> Path:
        """The lock that whoever trains this run holds."""
        return self.locks / f"{run}.lock"

    @property
    def job_log(self) -> Path:
        """What the tasks of a job print, with Slurm's `%A` for the job and `%a` for the task."""
        return self.logs / "slurm-%A_%a.out"

    @property
    def report_job_log(self) -> Path:
        """What the job prints that writes the report."""
        return self.logs / "slurm-report.out"

    def list_runs(self, run: str) -> list[Path]:
        """The run folders of that name, the newest first: their names are times."""
        return sorted(list_runs_in(self.path / run), reverse=True)
