"""Many samples of any data set to one tar file, as webdataset writes them; done in worker processes."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segkit.commands.convert.pair_writer import PairMaker
from segkit.commands.convert.record import Entry, digest_of
from segkit.errors import ConfigError
from segkit.system.files import cannot_write, write_atomically

#: Shards are written anew when this number has changed.
FORMAT = 1
#: What the labels are called after the key of their sample.
MASK = "seg.png"
#: A key as webdataset has it has no dot in its last part, from which on a file says what it is.
KEY = re.compile(r"[^\W_][\w+= -]{0,90}")


class ShardWriter:
    """`writer(shard)` writes a tar file of `size` samples, unless it is there, and returns its entry.

    The bytes of a shard depend on its samples alone: there are no times and no owners in it. `known` is what an earlier
    conversion wrote. Raises as `PairWriter`.
    """

    def __init__(
        self, maker: PairMaker, part: str, folder: Path, *, size: int, known: Mapping[tuple[str, str], Entry]
    ):
        self.maker, self.part, self.folder, self.size, self.known = maker, part, folder, size, known
        self.samples = len(maker)
        count = -(-self.samples // size)
        width = max(6, len(str(max(0, count - 1))))
        self.names = [f"{part}-{number:0{width}d}.tar" for number in range(count)]
        self.keys = name_keys(maker)

    def __call__(self, shard: int) -> Entry:
        name, indices = self.names[shard], self._indices(shard)
        facts = [self.maker.made_by(index, self.keys[index]) for index in indices]
        made_by = hashlib.sha256(json.dumps([FORMAT, MASK, *facts]).encode()).hexdigest()
        path, before = self.folder / name, self.known.get((self.part, name))
        there = digest_of(path)
        if before is not None and before.made_by == made_by and there == before.files[name]:
            return before
        if there is not None and before is None:
            raise ConfigError(f"{path} is there, and was not written by this command -> another folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path.parent, error) from error
        write_atomically(path, lambda stream: self._write(stream, indices), durable=False)
        digest = digest_of(path)
        assert digest is not None  # it has just been written
        return Entry(self.part, name, made_by, {name: digest})

    def files_of(self, shard: int) -> tuple[str, ...]:
        """The file of a shard, below the folder."""
        return (self.names[shard],)

    def _indices(self, shard: int) -> range:
        return range(shard * self.size, min((shard + 1) * self.size, self.samples))

    def _write(self, stream: Any, indices: range) -> None:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for index in indices:
                suffix, image, mask = self.maker.make(index)
                for ending, content in ((suffix.lstrip(".").lower(), image), (MASK, mask)):
                    member = tarfile.TarInfo(f"{self.keys[index]}.{ending}")
                    member.size, member.mode = len(content), 0o644
                    tar.addfile(member, io.BytesIO(content))


def name_keys(maker: PairMaker) -> list[str]:
    """What the samples are called: as in the data where that is unique and has no dot, else with a number before it."""
    names = maker.sample_names
    if names is not None and len(set(names)) == len(names) and all(map(KEY.fullmatch, names)):
        return list(names)
    width = len(str(max(0, len(maker) - 1)))
    numbers = [f"{index:0{width}d}" for index in range(len(maker))]
    if names is None:
        return numbers
    plain = (re.sub(r"[^\w+= -]", "_", name)[-80:] for name in names)
    return [f"{number}_{name}" for number, name in zip(numbers, plain, strict=True)]


def refuse_strange_shards(folder: Path, parts: Iterable[str], own: set[str]) -> None:
    """Raises ConfigError for tar files that would be read with those of these parts, and are not among their `own`."""
    for part in parts:
        for path in sorted(folder.glob(f"{part}-*.tar")):
            if path.name not in own:
                raise ConfigError(f"{path} is there, and was not written by this command -> another folder")
