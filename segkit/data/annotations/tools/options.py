"""Options that the data sets of several tools have."""

from typing import Annotated, Literal

from pydantic import Field

from segkit.types import Expects

AUTO = "auto"
#: Names of the classes, or `auto`: what the files have.
Classes = Annotated[
    Annotated[list[str], Field(min_length=2)] | Literal["auto"],
    Expects("a list (at least 2) of names, or auto"),
]
Expression = Annotated[str, Expects("a regular expression")]
Folder = Annotated[str, Expects("a folder")]
Overlap = Literal["order", "area"]
