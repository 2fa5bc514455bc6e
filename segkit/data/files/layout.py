"""Where the images, masks and weights of a part are, by folders, patterns, lists or a share of one folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from segkit.config.yaml_source import setting
from segkit.data.files.divide import choose_validation
from segkit.data.files.file_lists import FileList, read_file_list
from segkit.data.files.file_patterns import SPLIT, FilePattern, Watch, ignore, write_option
from segkit.data.files.find_pairs import Pairs, describe_folders, pair_by_list, pair_by_name
from segkit.data.files.validate import shorten
from segkit.errors import ConfigError, DataError

#: What the options `images` and `masks` are if they are not given: the first whose folder is there.
DIVIDED = {
    "images": ("images/{split}", "{split}/images"),
    "masks": ("masks/{split}", "labels/{split}", "{split}/masks", "{split}/labels"),
}
#: The same where no folders divide training from validation.
WHOLE = {"images": ("images",), "masks": ("masks", "labels")}

Part = Literal["train", "val"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The options of a data set of files that say where its files are; see `Folder`.

    Raises ConfigError for options that contradict each other.
    """

    images: str | None = None
    masks: str | None = None
    weights: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    train_list: str | None = None
    val_list: str | None = None
    val_fraction: float | None = None
    split_seed: int = 0
    split_group: str | None = None
    unlabelled: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        for key in ("images", "masks", "weights"):
            if getattr(self, key) is not None:
                self._pattern(key, getattr(self, key), Path(), "train")
        if self.images is not None and self.images == self.masks:
            raise ConfigError(f"data.images and data.masks are the same files: {self.images!r}")
        self._check_lists()
        if self.val_fraction is not None and self.val_split != "val":
            raise ConfigError(
                f"data.val_split={self.val_split} does nothing beside data.val_fraction -> remove one"
            )
        if self.val_fraction is None and (self.split_seed or self.split_group is not None):
            key = "split_seed" if self.split_seed else "split_group"
            raise ConfigError(f"data.{key} does nothing without data.val_fraction")
        if self.images is not None and SPLIT not in self.images and not self._is_whole:
            raise ConfigError(
                f"data.images={self.images!r} has no {SPLIT}, so training and validation would be the same images\n"
                f"   -> {SPLIT} in the pattern, data.train_list and data.val_list, or data.val_fraction=0.2"
            )

    def find(self, root: Path, part: Part, watch: Watch = ignore) -> Pairs:
        """The files of a part. Raises DataError for what is missing, ConfigError for lists beside patterns.

        `watch` is told of every folder and list of which a change might change what is found.
        """
        source: Part = "train" if self.val_fraction is not None else part
        listed = self._read_list(source, root, watch)
        if listed is not None and listed.has_pairs:
            self._refuse_patterns(source)
            pairs = pair_by_list(root, listed, watch)
            weights = self._pattern("weights", self.weights or "weights", root, self._split(source))
        else:
            images, masks = (self._locate(key, root, source, watch) for key in ("images", "masks"))
            weights = self._weights(images, root, source)
            skip = self.unlabelled == "skip"
            pairs = pair_by_name(
                images, masks, others=[weights], listed=listed, skip_unlabelled=skip, watch=watch
            )
        if self.val_fraction is not None:
            pairs = self._divide(pairs, part, self.val_fraction)
        elif part == "val" and listed is not None:
            pairs = replace(pairs, notes=[*pairs.notes, *self._find_shared(root, listed, watch)])
        return replace(pairs, weights=weights.paths_of(pairs.names))

    @property
    def _is_whole(self) -> bool:
        """Whether no folders need to divide training from validation."""
        return self.val_fraction is not None or self.train_list is not None

    def _check_lists(self) -> None:
        if self.val_list is not None and self.val_fraction is not None:
            raise ConfigError(
                "data.val_list and data.val_fraction both say which images validate -> remove one"
            )
        if self.val_list is not None and self.train_list is None:
            raise ConfigError("data.val_list is set but data.train_list is not -> data.train_list=FILE")
        if self.train_list is not None and self.val_list is None and self.val_fraction is None:
            raise ConfigError(
                "data.train_list is set but data.val_list is not\n"
                "   -> data.val_list=FILE, or data.val_fraction=0.2 to divide the list"
            )

    def _read_list(self, part: Part, root: Path, watch: Watch) -> FileList | None:
        name = self.train_list if part == "train" else self.val_list
        if name is None:
            return None
        for folder in (root, Path()):  # where it may lie
            watch(folder / Path(name).expanduser())
        return read_file_list(name, root, key=f"data.{part}_list")

    def _refuse_patterns(self, part: Part) -> None:
        for key in ("images", "masks"):
            if getattr(self, key) is not None:
                raise ConfigError(f"data.{part}_list names images and masks in pairs -> remove data.{key}")

    def _pattern(self, key: str, text: str, root: Path, split: str) -> FilePattern:
        if key == "weights":
            text = text.removesuffix(".png").removesuffix(".npy")
        return FilePattern(text, root=root, split=split, key=f"data.{key}")

    def _split(self, part: Part) -> str:
        return self.train_split if part == "train" else self.val_split

    def _locate(self, key: Literal["images", "masks"], root: Path, part: Part, watch: Watch) -> FilePattern:
        """The pattern of the images or masks of a part, of which the folder is there."""
        given = getattr(self, key)
        texts = (given,) if given is not None else DIVIDED[key] + (WHOLE[key] if self._is_whole else ())
        patterns = [self._pattern(key, text, root, self._split(part)) for text in texts]
        for pattern in patterns:
            watch(pattern.folder)
            if pattern.folder.is_dir():
                if key == "images" and given is None and pattern.divides:
                    self._refuse_second_validation(pattern, root, watch)
                return pattern
        folders = [pattern.shown(pattern.folder) for pattern in patterns]
        prefix = "" if given is None else f"data.{key}: "
        *first, last = folders
        names = f"{', '.join(first)} or {last}" if first else last
        raise DataError(
            f"{prefix}no folder {names} in {root}, {describe_folders(root)}\n   -> {self._explain(key, part)}"
        )

    def _explain(self, key: str, part: Part) -> str:
        example = "{split}/{stem}.jpg" if key == "images" else "{split}/{stem}_mask.png"
        ways = [f"{write_option(f'data.{key}', example)} or alike for another layout"]
        if not self._is_whole:
            ways.insert(0, f"data.{part}_split=NAME for folders of another name")
            ways.append("data.val_fraction=0.2 to divide one folder")
        return ", ".join(ways)

    def _refuse_second_validation(self, images: FilePattern, root: Path, watch: Watch) -> None:
        other = self._pattern("images", images.text, root, self.val_split).folder
        watch(other)
        if self.val_fraction is not None and other.is_dir():
            raise ConfigError(
                f"data.val_fraction divides the training images, but {other} is there to validate\n"
                f"   -> remove data.val_fraction, or "
                f"{setting('data.images', images.text.replace(SPLIT, self.train_split))}"
            )

    def _weights(self, images: FilePattern, root: Path, part: Part) -> FilePattern:
        if self.weights is not None:
            text = self.weights
        elif self.images is None:
            text = images.text.replace("images", "weights")
        else:
            text = "weights/{split}" if images.divides else "weights"
        return self._pattern("weights", text, root, self._split(part))

    def _divide(self, pairs: Pairs, part: Part, fraction: float) -> Pairs:
        chosen = choose_validation(
            pairs.names, fraction=fraction, seed=self.split_seed, group=self.split_group
        )
        kept = np.array([(name in chosen) == (part == "val") for name in pairs.names], dtype=bool)
        return replace(pairs.take(kept.nonzero()[0]), notes=pairs.notes if part == "train" else [])

    def _find_shared(self, root: Path, listed: FileList, watch: Watch) -> list[str]:
        """What is said of images in both lists."""
        trained = self._read_list("train", root, watch)
        train = set() if trained is None else {entry.image for entry in trained.entries}
        shared = [entry.image for entry in listed.entries if entry.image in train]
        if not shared:
            return []
        count = f"{len(shared)} images stand" if len(shared) > 1 else "1 image stands"
        return [
            f"{count} in data.train_list and data.val_list: {shorten(shared, most=3)}, so the scores flatter"
        ]
