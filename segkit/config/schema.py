"""What a configuration consists of: the fixed blocks, and the blocks that name a component.

A component's own keys are not here: they are the parameters of its constructor (segkit/config/signature.py).
"""

import re
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from segkit.config.yaml_source import dump_yaml
from segkit.registry import (
    AUGMENTS,
    CRITERIA,
    DATASETS,
    LOSSES,
    MODELS,
    OPTIMIZERS,
    SCHEDULES,
    SELECTIONS,
    TRANSFORMS,
    WEIGHT_MAPS,
    Registry,
)
from segkit.system.files import refuse_name
from segkit.types import (
    Duration,
    Expects,
    Fractional,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    Size,
)


class Params(dict):
    """Keyword arguments of a component, for reading only: nobody changes a configuration in use."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a configuration is read-only; change the file or use an override")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple:  # pickling and copying build a dict first, since items cannot be set
        return Params, (dict(self),)


def _freeze(value: Any) -> Any:
    """The value with every dict in it made read-only."""
    if isinstance(value, dict):
        return Params({key: _freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_freeze(item) for item in value)
    return value


def _check_run_name(value: str) -> str:
    if not value.strip() or value.startswith(".") or re.search(r"[/\\\x00-\x1f]", value):
        raise ValueError(f"must be a name for a folder, without / and not starting with a dot, got {value!r}")
    reason = refuse_name(value)
    if reason is not None:
        raise ValueError(reason)
    return value


def _check_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,4})?", value):
        raise ValueError(f"must be one of auto, cpu, mps, cuda, cuda:0, cuda:1, ..., got {value!r}")
    return value


RunName = Annotated[str, AfterValidator(_check_run_name)]
Device = Annotated[
    str, AfterValidator(_check_device), Expects("one of auto, cpu, mps, cuda, cuda:0, cuda:1, ...")
]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Component(_Frozen):
    """A registered name and all the arguments its constructor takes from the configuration."""

    name: str
    params: Annotated[dict[str, Any], AfterValidator(_freeze)]


class OptionSchedule(Component):
    """A number that moves with the iteration: `params` holds `from`, `to`, `start`, `end` and what shapes the way."""


class DataBlock(Component):
    """The data set, how its images are normalised and kept, and the maker of the weight maps."""

    weight_map: Component | None = None
    mean: list[float] | None = None
    std: list[PositiveFloat] | None = None
    cache: Literal["off", "disk", "ram"] = "off"
    on_bad_sample: Literal["stop", "skip"] = "stop"

    @property
    def skip_bad(self) -> bool:
        """Whether the run goes on without the samples that cannot be used."""
        return self.on_bad_sample == "skip"


class ModelBlock(Component):
    """The network, the weights that it starts from, and what of it is not trained."""

    init_from: Annotated[str, Expects("a run folder, a packed run, a .pt or a .safetensors file")] | None = (
        None
    )
    init_least: Annotated[float, Field(ge=0, le=1)] = 0.5
    freeze: list[str] = []


class OptimizerBlock(Component):
    """The optimizer, and by which factor the learning rate of a part of the model is another: one number, or those of
    the part's first and last layer."""

    groups: dict[
        str, NonNegativeFloat | Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]
    ] = {}


class ScheduleBlock(Component):
    """The shape of the learning rate after the warm-up, and the warm-up."""

    warmup: Duration = 0
    warmup_factor: Share = 0.0


class Train(_Frozen):
    """Length of the run and everything about an update that is not the model, the loss or the optimizer."""

    iterations: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    batch_size: PositiveInt = 16
    accumulate: PositiveInt = 1
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    clip_norm: PositiveFloat | None = None
    ema: Fractional | None = None
    aux_weight: NonNegativeFloat = 0.4
    compile: bool = False
    channels_last: bool = True
    workers: NonNegativeInt | Literal["auto"] | None = "auto"
    checkpoint_every: Duration = "10%"
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2
    determinism: Literal["off", "warn", "strict"] = "off"
    sync_batchnorm: bool = False
    find_unused_parameters: bool = False
    shard: bool = False


class Eval(_Frozen):
    """When and how validation runs."""

    every: Duration = "10%"
    batch_size: PositiveInt | None = None
    images: NonNegativeInt = 8
    calibration: bool | Literal["classwise"] = False
    at: Literal["network", "original"] = "network"


class Predict(_Frozen):
    """How an image is shown to the network, in validation as in predictions."""

    tile: Size | None = None
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.25
    blend: Literal["gaussian", "mean"] = "gaussian"
    flip: bool = False
    scales: Annotated[list[PositiveFloat], Field(min_length=1)] = [1.0]


class Wandb(_Frozen):
    """What a run is called in Weights & Biases; null is as its environment variables say (docs/trackers.md)."""

    project: str | None = None
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = []
    mode: Literal["online", "offline"] | None = None
    pictures: bool = True


class Mlflow(_Frozen):
    """What a run is called in MLflow, and where; null is as its environment variables say (docs/trackers.md)."""

    tracking_uri: str | None = None
    experiment: str | None = None
    run_name: str | None = None
    tags: dict[str, str] = {}
    pictures: bool = True


class Log(_Frozen):
    """What is written, where, and how often."""

    dir: str = "runs"
    every: Duration = 50
    images_every: Duration = "25%"
    tensorboard: bool = True
    wandb: Wandb | None = None
    mlflow: Mlflow | None = None


class Config(_Frozen):
    """One validated run: everything that decides what is trained, with every default filled in."""

    name: RunName
    seed: Seed = 0
    device: Device = "auto"
    model: ModelBlock
    data: DataBlock
    loss: Component
    optimizer: OptimizerBlock
    schedule: ScheduleBlock
    augment: Component
    train: Train
    eval: Eval
    predict: Predict
    log: Log
    _origins: dict[tuple, str] = PrivateAttr(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Equal settings; where they were written does not matter."""
        return self.__dict__ == other.__dict__ if isinstance(other, Config) else NotImplemented

    __hash__ = None

    def to_mapping(self) -> dict[str, Any]:
        """All settings as plain values that load back to an equal Config."""
        return _to_plain(self)

    def to_yaml(self) -> str:
        """All settings as YAML that loads back to an equal Config."""
        return dump_yaml(self.to_mapping())

    def origin_of(self, key: str) -> str:
        """Where the value at a dotted key was written: "configs/camvid/ohem.yaml:9", "command line" or "default"."""
        return self._origins.get(tuple(key.split(".")), "default")

    def describe_origins(self) -> str:
        """`to_yaml` with a comment on each line that says where its value was written."""
        from segkit.config.origins import describe_origins

        return describe_origins(self.to_mapping(), self._origins)


def _to_plain(value: Any) -> Any:
    if isinstance(value, Component):  # the arguments stand beside the name, as in a file
        own = {
            name: getattr(value, name) for name in type(value).model_fields if name not in ("name", "params")
        }
        return _to_plain({"name": value.name, **value.params, **own})
    if isinstance(value, BaseModel):
        return {name: _to_plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(_to_plain(item) for item in value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


class ComponentBlock(NamedTuple):
    """Which components a block can name, and the model of the block."""

    registry: Registry
    model: type[Component]
    list_flag: str  # what `--list` calls them
    default: dict[str, Any] | None  # the block where a file has none


COMPONENTS = {
    "model": ComponentBlock(MODELS, ModelBlock, "models", {"name": "unet"}),
    "data": ComponentBlock(DATASETS, DataBlock, "datasets", {"name": "shapes"}),
    "loss": ComponentBlock(LOSSES, Component, "losses", None),
    "optimizer": ComponentBlock(
        OPTIMIZERS,
        OptimizerBlock,
        "optimizers",
        {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
    ),
    "schedule": ComponentBlock(SCHEDULES, ScheduleBlock, "schedules", {"name": "poly"}),
    "augment": ComponentBlock(AUGMENTS, Component, "transforms", {"name": "standard"}),
    "data.weight_map": ComponentBlock(WEIGHT_MAPS, Component, "weight_maps", None),
}
#: What a parameter that is a component itself can be, by the kind of its registry.
NESTED = {
    **{COMPONENTS[key].registry.kind: COMPONENTS[key] for key in ("loss", "augment", "data.weight_map")},
    "model": ComponentBlock(MODELS, Component, "models", None),
    "dataset": ComponentBlock(DATASETS, Component, "datasets", None),
    "criterion": ComponentBlock(CRITERIA, Component, "criteria", None),
    "selection": ComponentBlock(SELECTIONS, Component, "selections", None),
    "transform": ComponentBlock(TRANSFORMS, Component, "transforms", None),
}
#: A schedule in the place of a number of a loss.
OPTION_SCHEDULE = ComponentBlock(SCHEDULES, OptionSchedule, "schedules", None)
FIXED = {"train": Train, "eval": Eval, "predict": Predict, "log": Log}
#: Blocks in these that are off unless they are there; `true` stands for one without settings, `false` for none.
SWITCHED = {"log.wandb": Wandb, "log.mlflow": Mlflow}
