"""What `segkit visualise` does."""

from collections.abc import Sequence
from pathlib import Path

from segkit.commands.visualise.drawing import find_classes
from segkit.commands.visualise.page import Facts, render_page
from segkit.commands.visualise.samples import look
from segkit.commands.visualise.sheet import draw_sheet
from segkit.commands.visualise.steps import describe_options, try_steps
from segkit.config.load import load_config
from segkit.config.schema import Component, Config
from segkit.data.loading.spread import spread
from segkit.data.palette import Legend
from segkit.errors import ConfigError
from segkit.evaluation.pictures import save_jpeg
from segkit.system.files import cannot_write, write_text
from segkit.system.typed import typed
from segkit.training.build import build_data
from segkit.training.experiment import Data


def visualise(
    source: str,
    overrides: Sequence[str],
    *,
    split: str,
    count: int,
    seed: int | None,
    epoch: int,
    epochs: int,
    output: Path | None,
) -> int:
    """Write contact_sheet.jpg and index.html of `count` images, augmented as in `epochs` epochs from `epoch` on.

    Returns the exit status. Raises ConfigError, DataError and CannotWrite.
    """
    if min(count, epochs) < 1 or epoch < 0:
        raise ConfigError(
            "--count and --epochs must be at least 1 and --epoch at least 0, "
            f"got --count {count} --epochs {epochs} --epoch {epoch}"
        )
    # A seed that no run can have would show what no run draws.
    config = load_config(source, overrides if seed is None else [*overrides, f"seed={seed}"])
    seed = config.seed
    data = build_data(config)
    dataset = data.train if split == "train" else data.val
    labels = Legend(list(dataset.class_names), data.palette, dataset.ignore_index)
    places, chosen = spread(len(dataset), count), range(epoch, epoch + epochs)
    shown, samples = look(data, split=split, places=places, seed=seed, epochs=chosen)
    richest = max(range(len(samples)), key=lambda n: len(find_classes(shown[n : n + 1], dataset.num_classes)))
    steps = try_steps(data.augment, config.augment, samples[richest], seed=seed) if split == "train" else []
    command = describe_command(
        source, overrides, split=split, count=count, seed=seed, epoch=epoch, epochs=epochs
    )
    facts = Facts(config.name, describe(config, data, split=split, seed=seed, epochs=chosen), command)
    folder = make_folder(output or Path("runs") / "visualise" / config.name)
    heading = f"{config.name}   {split}   seed {seed}   augment: {config.augment.name}"
    save_jpeg(draw_sheet(shown, labels, heading=heading), folder / "contact_sheet.jpg")
    write_text(folder / "index.html", render_page(facts, shown, steps, shown[richest], labels))
    print(
        f"{len(shown)} of {len(dataset)} images of {config.data.name} {split}, {len(steps)} transforms alone"
    )
    print(f"wrote {folder / 'contact_sheet.jpg'} and {folder / 'index.html'}")
    return 0


def describe(
    config: Config, data: Data, *, split: str, seed: int, epochs: Sequence[int]
) -> list[tuple[str, str]]:
    """The rows above the pictures."""
    dataset = data.train if split == "train" else data.val
    channels = "greyscale" if dataset.channels == 1 else "colour"
    rows = [
        ("data", f"{config.data.name} {split}, {len(dataset):,} images, {channels}"),
        ("classes", f"{dataset.num_classes}, ignored pixels are {dataset.ignore_index} and hatched"),
        ("weight map", config.data.weight_map.name if config.data.weight_map else "none"),
    ]
    if split != "train":
        return [*rows, ("augment", "none: validation sees the images as they are")]
    last = f" to {epochs[-1]}" if len(epochs) > 1 else ""
    return [
        *rows,
        ("augment", describe_augment(config.augment)),
        ("random numbers", f"seed {seed}, epoch {epochs[0]}{last}: the very samples that training draws"),
    ]


def describe_augment(component: Component) -> str:
    """An augmentation with its options, or with how many transforms it lists."""
    if "transforms" in component.params:
        count = len(component.params["transforms"])
        return f"{component.name}: {count} transform{'s' * (count != 1)}, shown below one by one"
    return f"{component.name}: {describe_options(component)}" if component.params else component.name


def describe_command(source: str, overrides: Sequence[str], **options: object) -> str:
    """The command that makes the same page."""
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return typed("visualise", "--config", Path(source), *overrides, *flags)


def make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path
