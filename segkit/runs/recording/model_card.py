"""`README.md` of a run folder: what was trained, on what, how, how well, and what nobody measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segkit.evaluation import metrics
from segkit.evaluation.evaluate import Evaluation
from segkit.runs.recording.arrays import DEFINITION
from segkit.system.console import duration, percent
from segkit.system.markup import code_span, escape_markdown
from segkit.system.run_files import RunFiles
from segkit.system.typed import typed

#: Pictures of a run folder in the order in which they are worth a look.
PICTURES = (
    (RunFiles.results_plot.name, "Curves"),
    (RunFiles.confusion_matrix_plot.name, "Confusion matrix of the last evaluation"),
    (RunFiles.best_images.name, "The validation images with the highest mIoU at the last evaluation"),
    (RunFiles.worst_images.name, "Those with the lowest"),
    (RunFiles.val_labels.name, "Validation images with their labels"),
    (RunFiles.val_predictions.name, "The same images with the predictions"),
    (RunFiles.loss_pixels.name, "The pixels that the loss kept, at three moments"),
    (RunFiles.train_batch.name, "The first training batch as the network saw it"),
    (RunFiles.labels_plot.name, "How often each class occurs"),
)


class Code(str):
    """The value of a row that is to be read as code."""


#: Those that only a finished run draws; in the folder of another they are of a shorter run that was continued.
ENDINGS = (RunFiles.best_images.name, RunFiles.worst_images.name)


@dataclass(frozen=True)
class CardFacts:
    """What the card is made of. `model`, `loss`, `data`, `training` and `environment` are rows (what, value).

    `best` has `mean_iou` and `iteration` (0: nothing was scored), `kept` the same of the weights in best.pt;
    `last` is the last evaluation with its iteration, and `size` says of which size the images were then, if in doubt.
    `overfit`: a run of `--overfit`, which is scored on the images that it learnt.
    """

    name: str
    folder: RunFiles
    model: Sequence[tuple[str, str]]
    loss: Sequence[tuple[str, str]]
    data: Sequence[tuple[str, str]]
    training: Sequence[tuple[str, str]]
    environment: Sequence[tuple[str, str]]
    class_names: Sequence[str]
    iteration: int
    total: int
    seconds: float
    best: Mapping[str, Any]
    kept: Mapping[str, Any]
    last: tuple[int, Evaluation] | None
    size: str = ""
    resumed: bool = False
    overfit: bool = False

    @property
    def finished(self) -> bool:
        """Whether every planned update was made."""
        return self.iteration >= self.total


def model_card(facts: CardFacts) -> str:
    """The card as Markdown. Links are to the pictures that are in the folder."""
    parts = [
        f"# {escape_markdown(facts.name)}",
        _state(facts),
        "## What was trained",
        rows_as_table([*facts.model, *facts.loss]),
        "## On what",
        rows_as_table(facts.data),
        "## How",
        rows_as_table(facts.training),
        "## How well",
        *_scores(facts),
        "## Using the weights",
        _usage(facts),
        "## What was not measured",
        _limitations(facts),
        "## Pictures",
        _pictures(facts),
        "## Environment",
        rows_as_table(facts.environment),
    ]
    return "\n\n".join(parts) + "\n"


def rows_as_table(rows: Sequence[tuple[str, str]]) -> str:
    """Rows of (what, value) as a Markdown table without a heading."""
    lines = ["| | |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {escape_markdown(what)} | {_value(value)} |" for what, value in rows)])


def _value(text: str) -> str:
    return code_span(text) if isinstance(text, Code) else escape_markdown(text)


def _state(facts: CardFacts) -> str:
    took = duration(facts.seconds)
    since = ", since it was resumed last" if facts.resumed else ""
    if facts.finished:
        return f"A finished training run of segkit: {facts.total:,} iterations in {took}{since}."
    resume = code_span(typed("train", "--resume", facts.folder.path))
    return (
        f"**Unfinished**: stopped after {facts.iteration:,} of {facts.total:,} iterations, so no score below is of a "
        f"fully trained model. To continue: {resume}"
    )


def _scores(facts: CardFacts) -> list[str]:
    if facts.last is None:
        return ["Nothing was evaluated."]
    iteration, result = facts.last
    matrix = result.matrix
    scored = f"{result.images:,} validation images"
    if facts.overfit:
        scored = (
            f"the {result.images:,} training images that it learnt (`--overfit`), not on validation images"
        )
    images = f"{scored}{facts.size and f', {facts.size}'}"
    summary = (
        f"At iteration {iteration:,}, on {images}: **mIoU {percent(result.mean_iou)}**, "
        f"pixel accuracy {percent(metrics.accuracy(matrix))}, cross-entropy {result.ce:.4f}."
    )
    if result.calibration is not None:
        sure = result.calibration.scores()
        summary += f" Expected calibration error {100 * sure.ece:.2f} %, Brier score {sure.brier:.4f}."
    counts = matrix.sum(dim=1).tolist()
    columns = (metrics.iou(matrix), metrics.dice(matrix), metrics.class_accuracy(matrix))
    table = ["| class | IoU | Dice | recall | pixels |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, iou, dice, recall, pixels in zip(facts.class_names, *columns, counts, strict=True):
        table.append(
            f"| {escape_markdown(name)} | {percent(iou)} | {percent(dice)} | {percent(recall)} | {pixels:,} |"
        )
    means = (metrics.mean_iou(matrix), metrics.mean_dice(matrix), metrics.mean_class_accuracy(matrix))
    cells = " | ".join(f"**{percent(mean)}**" for mean in means)
    table.append(f"| **mean** | {cells} | {sum(counts):,} |")
    found = [summary, "\n".join(table)]
    if facts.best["iteration"]:
        found.append(
            f"The best mIoU was {percent(facts.best['mean_iou'])} at iteration {facts.best['iteration']:,}"
            f"{_best_weights(facts)}. That moment was chosen by the score on the same "
            f"{'' if facts.overfit else 'validation '}images, which flatters it; the table is of the last evaluation, "
            "which was not chosen."
        )
    definition = DEFINITION.replace("the validation set", "those images") if facts.overfit else DEFINITION
    return [*found, f"mIoU: {definition} Scores are in %; `-` stands for a class that does not occur."]


def _best_weights(facts: CardFacts) -> str:
    """Where the weights of the best moment are, or which are there instead."""
    best, kept = facts.best["iteration"], facts.kept["iteration"]
    if kept == best:
        return f"; `{RunFiles.best.name}` has those weights"
    if not kept:
        return ", whose weights are no longer there"
    return (
        f", whose weights are no longer there; `{RunFiles.best.name}` has those of iteration {kept:,}, the best that "
        f"are: mIoU {percent(facts.kept['mean_iou'])}"
    )


def _usage(facts: CardFacts) -> str:
    weights = f"`{RunFiles.best.name}`" if facts.kept["iteration"] else "the newest checkpoint"
    folder = facts.folder.path
    counted = (
        f" `{RunFiles.per_image.name}` has confusion matrix and cross-entropy of each "
        f"{'' if facts.overfit else 'validation '}image as of the last evaluation."
    )
    again = (
        ""
        if facts.overfit
        else f"{typed('train', '--config', folder)}        # the same training once more\n"
    )
    return (
        "```\n"
        f"{typed('evaluate', '--weights', folder)}\n"
        f"{typed('predict', '--weights', folder)} --source IMAGE_OR_FOLDER\n"
        f"{again}"
        "```\n\n"
        f"The first two take {weights}.{counted if facts.folder.per_image.is_file() else ''}"
    )


def _limitations(facts: CardFacts) -> str:
    points = [
        "Any image that it did not learn: all scores are on the images that it was trained on."
        if facts.overfit
        else "A test set that took no part in any choice: all scores are on the validation images.",
        "The spread over random seeds: this is one run with one seed, and another seed gives another score.",
        "Images from elsewhere: other cameras, places, light or annotators than in this data set.",
        "How exact the borders of objects are."
        if facts.last is not None and facts.last[1].calibration is not None
        else "How well the probabilities are calibrated, and how exact the borders of objects are.",
        f"Speed of prediction; images per second in `{RunFiles.summary.name}` are those of training.",
    ]
    if not facts.finished:
        points.insert(0, "The model after the whole training, which was stopped early.")
    return "\n".join(f"- {point}" for point in points)


def _pictures(facts: CardFacts) -> str:
    stale = () if facts.finished else ENDINGS
    there = [(name, text) for name, text in PICTURES if (facts.folder.path / name).is_file()]
    found = [(name, text) for name, text in there if name not in stale]
    return "\n\n".join(f"{text}\n\n![{text}]({name})" for name, text in found) or "None were drawn."
