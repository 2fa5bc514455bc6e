"""The YAML at the top of a card, which the Hugging Face Hub reads: only what is known stands in it.

After the specification of model cards, https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from segkit.config.schema import Config
from segkit.config.yaml_source import dump_yaml
from segkit.errors import ConfigError
from segkit.runs.packed.about import Scores

#: Identifiers of licences and data sets on the Hub.
_LICENCE, _DATASET = re.compile(r"[a-z0-9][a-z0-9.+-]*"), re.compile(r"[\w.-]+(/[\w.-]+)?")
TASK = "image-segmentation"


def check_identifiers(licence: str | None, dataset: str | None) -> None:
    """Raises ConfigError for what cannot be an identifier of a licence or a data set on the Hub."""
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise ConfigError(
            f"--license {licence}: expected an identifier of the Hub, such as apache-2.0 or other"
        )
    if dataset is not None and not _DATASET.fullmatch(dataset):
        raise ConfigError(f"--dataset {dataset}: expected an identifier of the Hub, such as OWNER/NAME")


def front_matter(
    config: Config, scores: Scores | None, *, licence: str | None = None, dataset: str | None = None
) -> str:
    """The block with its lines of dashes. `licence` and `dataset` are identifiers of the Hub, which segkit cannot know
    and leaves out where nobody says them. Scores are shares, as those of the Hub's metrics."""
    entries: dict[str, Any] = {} if licence is None else {"license": licence}
    entries |= {
        "library_name": "segkit",
        "pipeline_tag": TASK,
        "tags": _unique(["segkit", "semantic-segmentation", config.model.name, config.loss.name]),
    }
    if dataset is not None:
        entries["datasets"] = [dataset]
    # Of images that were learnt there is no score that stands beside others' on the Hub.
    metrics = [] if scores is None or scores.learnt else _metrics(scores)
    if metrics:
        entries["metrics"] = [metric["type"] for metric in metrics]
        entries["model-index"] = [{"name": config.name, "results": [_result(config, metrics, dataset)]}]
    return f"---\n{dump_yaml(entries)}---\n"


def _metrics(scores: Scores) -> list[dict[str, Any]]:
    named = (("mean_iou", "mean IoU", scores.mean_iou), ("accuracy", "pixel accuracy", scores.accuracy))
    return [{"type": kind, "name": name, "value": value} for kind, name, value in named if value is not None]


def _result(config: Config, metrics: Sequence[Mapping[str, Any]], dataset: str | None) -> dict[str, Any]:
    return {
        "task": {"type": TASK, "name": "semantic segmentation"},
        "dataset": {"type": dataset or config.data.name, "name": config.data.name, "split": "val"},
        "metrics": list(metrics),
    }


def _unique(words: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(words))
