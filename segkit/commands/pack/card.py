"""`README.md` of a packed run: for whoever gets the file, and was not there when it was trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segkit.config.carried.places import NOT_SAID
from segkit.config.schema import Config
from segkit.registry import MODELS
from segkit.runs.folder import is_overfit
from segkit.runs.packed.about import About
from segkit.runs.recording.arrays import DEFINITION
from segkit.runs.recording.model_card import rows_as_table
from segkit.system.console import percent
from segkit.system.markup import code_span, escape_markdown
from segkit.system.packed.members import NeededImport, PackedFiles

#: What a configuration says of a model besides the arguments of its constructor, where it is as it is unless set.
USUAL = {
    "init_least": 0.5,
    "freeze": [],
    "groups": {},
    "cache": "off",
    "on_bad_sample": "stop",
    "warmup_factor": 0.0,
}
#: Where the networks of other libraries are, each registered under the name of the extra that it needs.
OTHER_LIBRARIES = "segkit.models.extras"


@dataclass(frozen=True)
class CardFacts:
    """What the card is made of. `settings` are those of `config` without places, `left_out` the keys that are missing
    in them; `summary` and `environment` what the run has written, each empty where it has not; `state` how it stands.

    `pictures` are names and captions, `files` names of other members and what they are.
    """

    config: Config
    settings: Mapping[str, Any]
    left_out: Sequence[str]
    about: About
    imports: Sequence[NeededImport]
    summary: Mapping[str, Any]
    environment: Mapping[str, Any]
    state: str
    pictures: Sequence[tuple[str, str]]
    files: Mapping[str, str]
    licence: str | None = None


def card_text(facts: CardFacts) -> str:
    """The card as Markdown, without its front matter."""
    parts = [
        f"# {escape_markdown(facts.about.name)}",
        *_begin(facts),
        "## Using it",
        *_usage(facts),
        "## Classes",
        _classes(facts.about),
        "## Images and answers",
        _images(facts),
        "## How well",
        *_scores(facts),
        "## How it was trained",
        rows_as_table(_training(facts)),
        "## What is not known",
        _unknown(facts),
        *_pictures(facts),
        "## Files",
        rows_as_table([(name, text) for name, text in facts.files.items()]),
        "## Versions",
        rows_as_table(_versions(facts)),
    ]
    return "\n\n".join(parts) + "\n"


def _begin(facts: CardFacts) -> list[str]:
    about, config = facts.about, facts.config
    count = facts.summary.get("parameters")
    trained = "trained parameters, and others that were frozen" if config.model.freeze else "parameters"
    size = f" with {count:,} {trained}" if isinstance(count, int) else ""
    average = ", a moving average of what was trained" if config.train.ema is not None else ""
    of = "an unknown iteration" if about.iteration is None else f"iteration {about.iteration:,}"
    network = code_span(_described(facts.settings["model"]))
    return [
        f"A network for semantic segmentation: {network}{size}, trained with the loss {code_span(config.loss.name)}. "
        f"It gives every pixel of an image one of {len(about.class_names)} classes. The "
        f"weights are {escape_markdown(about.weights)} of its training, of {of}{average}.",
        facts.state,
    ]


def _usage(facts: CardFacts) -> list[str]:
    places = " ".join(f"{key}=PATH" for key in facts.left_out if key != "log.dir")
    needed = [f"--import {code}" for code in dict.fromkeys(each.file for each in facts.imports)]
    imports = "".join(f" {word}" for word in needed)
    data = f" {places}" if places else ""
    # One of --overfit takes that besides.
    again = f"segkit train --config FILE.zip{data}{imports}        # the same training once more\n"
    paragraphs = [
        f"With segkit {facts.about.segkit} or newer and {_extras(facts)}. `FILE.zip` is the file that this card came "
        "in; it is used as it is, without unpacking it:",
        "```\n"
        f"segkit predict --weights FILE.zip --source IMAGE_OR_FOLDER{imports}\n"
        f"segkit evaluate --weights FILE.zip{_of_data(facts)}{imports}\n"
        f"{'' if _overfit(facts) else again}"
        f"segkit train --config OTHER.yaml model.init_from=FILE.zip        # another, which begins with these weights\n"
        "```",
    ]
    if facts.imports:
        names = ", ".join(
            f"the {each.kind} {code_span(each.name)} ({code_span(each.file)})" for each in facts.imports
        )
        paragraphs.append(
            f"**It needs code that is not in the file:** {names}. Ask whoever trained it; the file itself runs nothing."
        )
    return paragraphs


def _overfit(facts: CardFacts) -> bool:
    """Whether the scores are of images that were learnt, and the training is not what its settings alone say."""
    return is_overfit(facts.config.name)


def _extras(facts: CardFacts) -> str:
    """What has to be installed besides."""
    name = facts.config.model.name
    needed = "the package safetensors (segkit's extra `weights`)"
    if MODELS.get(name).__module__.startswith(OTHER_LIBRARIES):
        needed += f", and its extra `{name}` for the network"
    return needed


def _of_data(facts: CardFacts) -> str:
    keys = [
        key for key in facts.left_out if key.startswith("data.") and not key.startswith("data.weight_map.")
    ]
    return "".join(f" {key}=PATH" for key in keys)


def _classes(about: About) -> str:
    lines = ["| id | class | colour | IoU |", "| ---: | --- | --- | ---: |"]
    for number, (name, color) in enumerate(zip(about.class_names, about.palette, strict=True)):
        iou = None if about.scores is None else about.scores.iou.get(name)
        hexadecimal = "".join(f"{part:02x}" for part in color)
        lines.append(f"| {number} | {escape_markdown(name)} | `#{hexadecimal}` | {_percent(iou)} |")
    return "\n".join(lines) + f"\n\nLabels of {about.ignore_index} were ignored."


def _images(facts: CardFacts) -> str:
    about = facts.about
    depth = "8 bits" if about.value_range is None else "more than 8 bits, brought to 0 ... 255 from "
    if about.value_range is not None:
        low_high = about.value_range
        depth += "the range of their type" if low_high == "dtype" else f"{low_high[0]:g} ... {low_high[1]:g}"
    lines = [
        f"- Images have {about.channels} channels of {depth}, and are normalised channel by channel: (value / 255 - "
        f"mean) / std, with mean {_numbers(about.mean)} and std {_numbers(about.std)}.",
    ]
    if about.resize is not None:
        lines.append(f"- They were brought to {about.resize[0]} x {about.resize[1]} (height, width) before.")
    predict = facts.config.predict
    if predict.tile is not None or predict.flip or tuple(predict.scales) != (1.0,):
        lines.append(
            "- They are shown in parts or several times, and the logits averaged: "
            f"`{_described(facts.settings['predict'])}`."
        )
    lines += [
        f"- The network answers with logits of {about.logits_channels} channels, at its own stride. They are upsampled "
        "bilinearly to the size of the image (`align_corners=False`); the class of the largest one is meant"
        + (", a single one z standing for [0, z]." if about.logits_channels == 1 else "."),
        "- Probabilities are the softmax of the logits"
        + (
            "; nothing was fitted to calibrate them."
            if about.temperature == 1
            else f" divided by the temperature {about.temperature:.4f}, which was fitted on validation images."
        ),
        f"- `{PackedFiles.about.name}` says all that to programs, `{PackedFiles.weights.name}` has the weights by the "
        "names of the model's parameters.",
    ]
    return "\n".join(lines)


def _scores(facts: CardFacts) -> list[str]:
    scores = facts.about.scores
    if scores is None:
        return ["These weights were not evaluated."]
    count = "the" if scores.images is None else f"{scores.images:,}"
    size = f", {scores.size}" if scores.size else ""
    ce = "" if scores.ce is None else f", cross-entropy {scores.ce:.4f}"
    chosen = (
        " The weights were chosen by this score on these very images, out of all evaluations of the run, which "
        "flatters it."
        if scores.chosen
        else ""
    )
    images, definition = f"{count} validation images of the data set", DEFINITION
    if scores.learnt:
        definition = DEFINITION.replace("the validation set", "those images")
        images = f"{count} training images that the network learnt, not on validation images (`--overfit`)"
    lines = [
        f"On {images}{size}: **mIoU {_percent(scores.mean_iou)}**, pixel accuracy "
        f"{_percent(scores.accuracy)}{ce} (iteration {scores.iteration:,}).{chosen}",
        f"mIoU: {definition} Scores are in %; `-` stands for a class that does not occur. The table of "
        "classes has the IoU of each.",
    ]
    last = facts.summary.get("last") or {}
    if last and last.get("iteration") != scores.iteration:
        lines.append(
            "What else the run wrote of an evaluation, single images and pictures included, is of its last one, at "
            f"iteration {last.get('iteration', 0):,}, not of these weights."
        )
    return lines


def _training(facts: CardFacts) -> list[tuple[str, str]]:
    settings, train = facts.settings, facts.config.train
    length = (
        f"{train.iterations:,} iterations" if train.iterations is not None else f"{train.epochs:g} epochs"
    )
    accumulated = f", {train.accumulate} of them in an update" if train.accumulate > 1 else ""
    rows = [
        *(
            (name, "none" if name == "augment" and _overfit(facts) else _described(settings[name]))
            for name in ("model", "loss", "data", "augment", "optimizer", "schedule")
        ),
        ("length", f"{length}, batches of {train.batch_size}{accumulated}"),
        ("precision", f"amp {train.amp}"),
        ("seed", str(facts.config.seed)),
    ]
    if facts.summary.get("device"):
        rows.append(("device", str(facts.summary["device"])))
    if facts.config.model.init_from is not None:
        rows.insert(1, ("begun with", "other weights, which are not named here"))
    return [("data set" if name == "data" else name, text) for name, text in rows]


def _described(block: Mapping[str, Any]) -> str:
    """`sgd (lr 0.05, momentum 0.9)`: a block with its settings; what is not set, as always or a place is left out."""
    parts = [
        f"{key} {_word(value)}"
        for key, value in block.items()
        if key != "name" and value is not None and value != NOT_SAID and USUAL.get(key, NOT_SAID) != value
    ]
    words = ", ".join(parts)
    return f"{block['name']} ({words})" if "name" in block and words else block.get("name", words)


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_described(value)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_word, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _unknown(facts: CardFacts) -> str:
    points = [
        "How it does on any image that it did not learn."
        if _overfit(facts)
        else "How it does on images from elsewhere: other cameras, places, light or annotators.",
        "A score on a test set that took no part in any choice.",
        "How much of the score is chance: this is one training with one seed.",
        "What the images show, who may use them, and what the network is meant for: segkit knows none of it, and "
        "whoever hands the file on should say it here.",
    ]
    if facts.licence is None:
        points.append("The licence: none was said when the run was packed, so none is granted by this card.")
    return "\n".join(f"- {point}" for point in points)


def _pictures(facts: CardFacts) -> list[str]:
    if not facts.pictures:
        return []
    shown = [f"{text}\n\n![{text}]({name})" for name, text in facts.pictures]
    return ["## Pictures", "Some show images of the data set.", *shown]


def _versions(facts: CardFacts) -> list[tuple[str, str]]:
    names = ("segkit", "torch", "torchvision", "python")
    rows = [
        (f"trained with {name}", str(facts.environment[name]))
        for name in names
        if facts.environment.get(name)
    ]
    if facts.environment.get("git_commit"):
        changed = ", with uncommitted changes" if facts.environment.get("git_dirty") else ""
        rows.append(("trained with git commit", f"{facts.environment['git_commit']}{changed}"))
    digests = facts.environment.get("fingerprints")
    if isinstance(digests, Mapping) and "data" in digests:
        rows.append(("fingerprint of the data", str(digests["data"])))
    return [*rows, ("packed with segkit", facts.about.segkit), ("packed with torch", facts.about.torch)]


def _numbers(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"


def _percent(value: float | None) -> str:
    return "-" if value is None else percent(value)
