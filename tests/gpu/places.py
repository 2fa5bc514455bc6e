"""Parts for tests: small programs in place of what runs on a GPU."""

import sys
from pathlib import Path

from scripts.gpu.commands import Place
from scripts.gpu.parts import Part
from scripts.gpu.table import Table
from tests.paths import ROOT


def make_place(folder: Path, *, dry: bool = False) -> Place:
    """A place whose environment is this interpreter."""
    place = Place(folder / "work", Path(sys.executable), folder / "carried", dry=dry)
    place.python.parent.mkdir(parents=True)
    place.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    place.python.chmod(0o755)
    return place


def make_part(name: str, program: str = "print('found: it')", **options) -> Part:
    """A part that runs this program."""
    given = {"group": "correctness", "limit": 500.0, "what": f"what {name} is"}
    return Part(name, words=lambda place: ["-c", program], **{**given, **options})


def make_table(place: Place, *parts: Part) -> Table:
    """A table of these parts beside the place."""
    return Table(place.work.parent / "out", place.work, parts)


__all__ = ["ROOT", "make_part", "make_place", "make_table"]
