"""What a packed run says of its weights: what images need before, what the answers mean, what they score."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segkit.errors import CheckpointError
from segkit.system.printable import show_name

Count = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class Scores(_Strict):
    """The validation scores of the packed weights; in [0, 1], None where one is not defined. `iou` is by class,
    `images` how many there were, `size` of which size they were if that is in doubt. `chosen`: the weights were chosen
    by mIoU on these images. `learnt`: they are those that were trained on, since the run was one of `--overfit`."""

    iteration: int
    mean_iou: Finite | None
    accuracy: Finite | None
    ce: Finite | None
    iou: dict[str, Finite | None]
    images: int | None
    size: str
    chosen: bool
    learnt: bool = False


class About(_Strict):
    """`weights` says in words which of the run's these are; `mean` and `std` are per channel on the scale of images in
    [0, 1]; `value_range` is None for images of 8 bits; `resize` the (height, width) that images were brought to in
    training; logits are divided by `temperature` for probabilities, which is 1 where none was fitted."""

    name: str
    segkit: str
    torch: str
    weights: str
    iteration: int | None
    class_names: Annotated[list[str], Field(min_length=1)]
    palette: list[tuple[Byte, Byte, Byte]]
    ignore_index: int
    channels: Count
    logits_channels: Count
    mean: list[Finite]
    std: list[Finite]
    value_range: Literal["dtype"] | tuple[Finite, Finite] | None
    resize: tuple[Count, Count] | None
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    scores: Scores | None

    def to_json(self) -> str:
        """As it stands in the file."""
        return self.model_dump_json(indent=2) + "\n"


def read_about(text: bytes, *, origin: object) -> About:
    """Raises CheckpointError, naming the first entry that cannot be used."""
    try:
        about = About.model_validate_json(text)
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = show_name(".".join(str(part) for part in first["loc"]) or "its content")
        raise CheckpointError(
            f"packed run {origin}: what it says of its weights cannot be used: {place}"
        ) from error
    if len(about.palette) != len(about.class_names):
        raise CheckpointError(
            f"packed run {origin}: it has {len(about.class_names)} classes and {len(about.palette)} colours"
        )
    return about
