"""The names of all files in the folder of a run, `<runs>/<name>/<time>/`: written and read under these alone.

It lies this low because `--config RUN` finds the configuration of a run, and configurations know of no runs.
"""

import re
from pathlib import Path

from segkit.system.entries import Entry, NamedFolder
from segkit.system.typed import quote

_NUMBERED = re.compile(r"(\d+)\.pt")
_ASIDE = ".aside"


class RunFiles(NamedFolder):
    """Where the files of a run are, for reading; `segkit.runs.folder.RunFolder` may write them."""

    config = Entry("config.yaml", "The resolved configuration; loads back.")
    env = Entry("env.json", "Versions, hardware, command line, and what changed when the run was resumed.")
    log = Entry("train.log", "What the console showed.")
    results = Entry("results.csv", "One row per evaluation.")
    results_plot = Entry("results.png", "The curves of results.csv.")
    confusion_matrix = Entry("confusion_matrix.csv", "Pixel counts, a row per true class.")
    confusion_matrix_plot = Entry("confusion_matrix.png", "The confusion matrix as a picture.")
    calibration_plot = Entry("calibration.png", "Confidence against accuracy, if that was counted.")
    temperature = Entry("temperature.json", "What `segkit evaluate --calibrate` found.")
    check = Entry("check.json", "What the look at the data before training found.")
    labels_plot = Entry("labels.png", "How often each class occurs.")
    bad_samples = Entry("bad_samples.csv", "The samples that could not be used, if there were any.")
    train_batch = Entry(
        "train_batch0.jpg", "What the network saw first: image, label, weight map, ignored pixels hatched."
    )
    loss_pixels = Entry("loss_pixels.jpg", "The pixels that the loss kept at three moments of the run.")
    val_labels = Entry("val_batch0_labels.jpg", "Validation images with their labels.")
    val_predictions = Entry("val_batch0_pred.jpg", "The same validation images with the predictions.")
    best_images = Entry("best8.jpg", "The eight validation images predicted best.")
    worst_images = Entry("worst8.jpg", "The eight validation images predicted worst.")
    per_image = Entry("per_image.npz", "Confusion matrix and cross-entropy of every validation image.")
    examples = Entry("examples.npz", "The example images with their predictions and kept pixels.")
    example_pictures = Entry("examples", "The folder of the pictures of the examples, one per moment.")
    checkpoints = Entry("checkpoints", "The folder of the numbered checkpoints.")
    best = Entry("best.pt", "The checkpoint with the best validation value.")
    summary = Entry("summary.json", "The final numbers.")
    status = Entry("status.json", "How the run stands, see `RunFolder.write_status`.")
    model_card = Entry("README.md", "What was trained, on what, how well.")
    tensorboard = Entry("tb", "The folder of the TensorBoard events.")
    tracking = Entry("tracking", "What `log.wandb` and `log.mlflow` keep of the run.")
    predictions = Entry("predictions", "The folder that `segkit predict` writes into by default.")
    onnx = Entry("model.onnx", "What `segkit export --to onnx` writes by default.")
    pt2 = Entry("model.pt2", "What `segkit export --to pt2` writes by default.")
    about_export = Entry("model.json", "What the exported file says of itself.")
    packed = Entry("run.zip", "What `segkit pack` writes by default.")
    lock = Entry(".lock", "Held by the process that writes the folder.")

    @property
    def is_run(self) -> bool:
        """Whether this is the folder of a run: it has a configuration."""
        return self.config.is_file()

    @property
    def moments(self) -> Path:
        """The folder of the pictures that `loss_pixels` is put together from."""
        return self.example_pictures / "moments"

    def example_picture(self, iteration: int) -> Path:
        """The picture of all examples at that moment."""
        return self.example_pictures / _picture_name(iteration)

    def moment_picture(self, iteration: int) -> Path:
        """The picture of the first examples at that moment."""
        return self.moments / _picture_name(iteration)

    def list_moment_pictures(self) -> dict[int, Path]:
        """The pictures in `moments` by iteration, the earliest first."""
        found = {int(path.stem): path for path in self.moments.glob("*.jpg") if path.stem.isdigit()}
        return dict(sorted(found.items()))


#: How messages call the numbered checkpoints of a run.
NUMBERED_CHECKPOINTS = f"{RunFiles.checkpoints.name}/*.pt"


def checkpoint_path(folder: str | Path, iteration: int) -> Path:
    """The file of the checkpoint that holds `iteration` updates, in a folder of checkpoints."""
    return Path(folder) / f"{iteration:06d}.pt"


def list_checkpoints(folder: str | Path) -> list[Path]:
    """The numbered checkpoints in a folder of checkpoints, newest first, intact or not."""
    numbered = [path for path in Path(folder).glob("*.pt") if _NUMBERED.fullmatch(path.name)]
    return sorted(numbered, key=iteration_of, reverse=True)


def iteration_of(path: Path) -> int:
    """The number of updates in a numbered checkpoint, from its name."""
    return int(path.stem)


def path_set_aside(path: Path) -> Path:
    """What a file of a run is called that is kept but no longer counts."""
    return path.with_name(f"{path.name}{_ASIDE}")


def list_set_aside(run: RunFiles) -> list[Path]:
    """The files of a run that were set aside, in all its folders, by path."""
    return sorted(
        path for folder in own_folders(run) for path in folder.glob(f"*{_ASIDE}") if not path.is_dir()
    )


def list_numbered(run: RunFiles) -> dict[Path, int]:
    """The files of a run whose name is the iteration that they are of: checkpoints and pictures, newest first."""
    found = [path for folder in own_folders(run)[1:] for path in folder.glob("*") if not path.is_dir()]
    numbers = {
        path: int(path.stem) for path in found if path.stem.isdigit() and path.suffix in (".pt", ".jpg")
    }
    return dict(sorted(numbers.items(), key=lambda item: item[1], reverse=True))


def list_misplaced_folders(run: RunFiles) -> list[Path]:
    """The folders that have the name of a file of a run."""
    folders = {run.checkpoints, run.example_pictures, run.tensorboard, run.tracking, run.predictions}
    paths = [run.path / entry.name for entry in run.entries().values()]
    return [path for path in paths if path.is_dir() and path not in folders]


def number_of_set_aside(path: Path) -> int | None:
    """The iteration in the name of a file that was set aside, None where it is not named after one."""
    stem = path.name.partition(".")[0]
    return int(stem) if stem.isdigit() else None


def own_folders(run: RunFiles) -> list[Path]:
    """The run folder itself and those in it whose files are of single moments."""
    return [run.path, run.checkpoints, run.example_pictures, run.moments]


def folder_around(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint lies in, if it is still where it was written."""
    around = checkpoint.absolute().parent  # a bare name is found in the working directory
    if around.name != RunFiles.checkpoints.name:
        return checkpoint.parent
    return checkpoint.parent.parent if checkpoint.parent.name else around.parent


def list_runs_in(parent: Path) -> list[Path]:
    """The folders of runs that lie in `parent`, in no order."""
    return [path.parent for path in parent.glob(f"*/{RunFiles.config.name}")]


def list_runs_below(above: Path) -> list[Path]:
    """The folders at any depth below `above` that a run has written, by path: for runs of one name, by time.

    A configuration alone is not enough: there are others of that name.
    """
    folders = sorted(path.parent for path in above.rglob(RunFiles.config.name))
    return [
        path for path in folders if RunFiles(path).checkpoints.is_dir() or RunFiles(path).status.is_file()
    ]


def name_runs_below(above: Path) -> str:
    """A line of advice for who gave the folder around runs, as an ablation makes one, instead of a run; else empty."""
    runs = list_runs_below(above)
    if not runs:
        return ""
    there = (
        f"the run in it, {quote(runs[0])}"
        if len(runs) == 1
        else f"one of the {len(runs)} runs in it, such as {quote(runs[-1])}"
    )
    return f"\n   -> give {there}"


def _picture_name(iteration: int) -> str:
    return f"{iteration:06d}.jpg"
