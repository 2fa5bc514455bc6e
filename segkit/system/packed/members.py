"""What the members of packed runs and studies are called, and what their manifests say of them."""

import os
import zipfile
from pathlib import Path
from typing import IO, Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from segkit.system.entries import Entry, NamedFolder
from segkit.system.run_files import RunFiles

#: Raised by one whenever a reader of the old layout would misread the new one.
FORMAT_VERSION = 1
SUFFIX = ".zip"


class Kind(NamedTuple):
    """What was packed: `format` is its word in the manifest, `words` those of messages; it has `most_members` at most.
    `command` makes one, with the `arguments` that follow."""

    format: Literal["segkit run", "segkit study"]
    words: str
    most_members: int
    command: str
    arguments: str


RUN = Kind("segkit run", "packed run", 1000, "pack", "RUN")
STUDY = Kind("segkit study", "packed study", 6000, "compare", "RUN RUN --pack FILE.zip")
KINDS = (RUN, STUDY)


class PackedFiles(NamedFolder):
    """Where the members would be if the file were unpacked; those that a run folder has too are called as there."""

    manifest = Entry("manifest.json", "What is in the file: sizes and SHA-256 of the others, who packed it.")
    about = Entry("about.json", "What the weights need and their answers mean, and what they score.")
    weights = Entry("weights.safetensors", "The weights, by the names of the model's parameters.")
    card = Entry(
        RunFiles.model_card.name, "What was trained, on what, how well; for people and for Hugging Face."
    )
    config = Entry(RunFiles.config.name, "The configuration without places of the machine; loads back.")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class Member(_Strict):
    """One member: its size and the SHA-256 of its content, in hexadecimal."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class NeededImport(_Strict):
    """A component that the configuration names and that was registered by code outside of segkit: `file` is what
    `--import` was given, without its folder."""

    kind: str
    name: str
    file: str


class Manifest(_Strict):
    """What a packed file says of itself. `segkit` is the version that packed it."""

    format: Literal["segkit run", "segkit study"] = RUN.format
    format_version: int = FORMAT_VERSION
    segkit: str
    imports: list[NeededImport] = []
    members: dict[str, Member]


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the suffix of what is packed."""
    return Path(path).suffix.lower() == SUFFIX


def describe_misnamed(file: str | os.PathLike[str] | IO[bytes]) -> str | None:
    """What to say of a packed file that was renamed, and so is taken for something else; None of any other."""
    try:
        with zipfile.ZipFile(file) as archive:
            renamed = PackedFiles.manifest.name in archive.namelist()
    except (
        Exception
    ):  # flipped bytes surface as almost any exception, and are described by who reads the file
        return None
    return f"a packed run or study, whose name has to end with {SUFFIX} -> rename it" if renamed else None
