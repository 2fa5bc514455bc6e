"""What a packed study says of itself: what its runs are called, and what is to be claimed of them."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segkit.ablation.study.claims import check_level, check_margin
from segkit.errors import CheckpointError
from segkit.system.entries import Entry
from segkit.system.printable import show_name
from segkit.system.run_files import RunFiles

#: Beside the folders of the runs.
ABOUT = Entry("study.json", "What the runs are called, and what is to be claimed of them.")
CARD = Entry(RunFiles.model_card.name, "What was compared, and how to read the file.")
#: What is packed of a run: what a report is written from.
OF_A_RUN = (
    RunFiles.config,
    RunFiles.status,
    RunFiles.env,
    RunFiles.summary,
    RunFiles.results,
    RunFiles.per_image,
)

Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class PackedEntry(_Strict):
    """A run: the folder that it has in the file, and the variant that it is of."""

    folder: Text
    variant: Text


class StudyAbout(_Strict):
    """The entries of a `Study`, and its runs in their order. `margin` is a share; `missing` has a line for each run
    that was planned and is not there; `command` repeats the whole, without places of the machine."""

    name: Text
    baseline: Text
    variants: Annotated[list[Text], Field(min_length=1)]
    group_by: str | int | None = None
    margin: float | None = None
    level: float
    metrics: Annotated[list[Text], Field(min_length=1)]
    command: str = ""
    missing: list[str] = []
    runs: Annotated[list[PackedEntry], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = {run.variant for run in self.runs}
        if self.baseline not in named:
            raise ValueError(f"no run is of the baseline {show_name(self.baseline)}")
        for name in sorted(named.difference(self.variants)):
            raise ValueError(f"a run is of {show_name(name)}, which is none of its variants")
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("two variants have one name")
        if len({run.folder for run in self.runs}) < len(self.runs):
            raise ValueError("two runs have one folder")
        for wrong in (
            check_level(self.level),
            None if self.margin is None else check_margin(100 * self.margin),
        ):
            if wrong is not None:
                raise ValueError(wrong)
        return self

    def to_json(self) -> str:
        """As it stands in the file."""
        return self.model_dump_json(indent=2) + "\n"


def read_about(text: bytes, *, origin: Path) -> StudyAbout:
    """Raises CheckpointError, naming the first entry that cannot be used."""
    try:
        return StudyAbout.model_validate_json(text)
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = "".join(f"{show_name(part)}: " for part in first["loc"])
        reason = show_name(first["msg"].removeprefix("Value error, "), most=200)
        raise CheckpointError(
            f"packed study {origin}: its {ABOUT.name} cannot be used: {place}{reason}"
        ) from error
