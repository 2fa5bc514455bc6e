"""What was counted in samples of one data set."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segkit.data.check.look import Look
from segkit.system.printable import show_class


@dataclass
class Tally:
    """What was counted in some samples of one data set. Samples that cannot be used are in `failures` alone."""

    total: int
    # Per class: its pixels, and the images that have it.
    pixels: list[int]
    images: list[int]
    samples: int = 0
    valid: int = 0
    ignored: int = 0
    # Samples without one labelled pixel.
    unlabelled: int = 0
    # Valid pixels with a weight above 0.
    weighted: int = 0
    mask_paths: list[Path] = field(default_factory=list)
    failures: list[Look] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    # (H, W) of the files; format and mode of the images and of the masks looked at closely; their raw values.
    sizes: Counter = field(default_factory=Counter)
    image_kinds: Counter = field(default_factory=Counter)
    mask_kinds: Counter = field(default_factory=Counter)
    values: Counter = field(default_factory=Counter)
    colours: Counter = field(default_factory=Counter)

    @property
    def ignored_share(self) -> float:
        """Share of the pixels that are ignored."""
        return self.ignored / max(1, self.valid + self.ignored)

    @property
    def looked_at(self) -> int:
        """Samples that were read, whether they can be used or not."""
        return self.samples + len(self.failures)

    @property
    def image_paths(self) -> list[Path]:
        """The image files that could be used, as far as the data set names them."""
        return [look.image_path for look in self.looks if look.image_path is not None]

    def add(self, look: Look) -> None:
        """Count one more sample."""
        self._add_files(look)
        if look.mask is not None:
            # What was counted need not be kept: of many colours, for many images, it would fill the memory.
            look = replace(look, mask=replace(look.mask, counts={}, palette={}))
        if look.error is not None:
            self.failures.append(look)
            return
        for class_id, pixels in enumerate(look.pixels):
            self.pixels[class_id] += pixels
            self.images[class_id] += pixels > 0
        valid = sum(look.pixels)
        self.samples += 1
        self.valid += valid
        self.ignored += look.ignored
        self.weighted += look.weighted
        self.unlabelled += valid == 0
        self.looks.append(look)
        self.sizes[look.size] += 1
        if look.mask_path is not None:
            self.mask_paths.append(look.mask_path)

    def _add_files(self, look: Look) -> None:
        if look.image is not None:
            self.image_kinds[f"{look.image.mode} {look.image.format}"] += 1
        if look.mask is not None:
            self.mask_kinds[f"{look.mask.mode} {look.mask.format}"] += 1
            (self.colours if look.mask.colours else self.values).update(look.mask.counts)

    def as_json(self, class_names: Sequence[str]) -> dict[str, Any]:
        """The counts in plain values; the mask values are those of the samples that were looked at closely."""
        rows = zip(class_names, self.pixels, self.images, strict=True)
        return {
            "images": self.total,
            "read": self.looked_at,
            "usable": self.samples,
            "failures": [{"name": look.name, "error": look.error} for look in self.failures],
            "valid_pixels": self.valid,
            "ignored_share": round(self.ignored_share, 6),
            "classes": [{"class": name, "pixels": pixels, "images": images} for name, pixels, images in rows],
            "sizes": {f"{width}x{height}": count for (height, width), count in self.sizes.most_common()},
            "image_kinds": dict(self.image_kinds.most_common()),
            "mask_kinds": dict(self.mask_kinds.most_common()),
            "mask_values": {str(value): self.values[value] for value in sorted(self.values)},
            "mask_colours": {f"#{value:06x}": count for value, count in self.colours.most_common()},
        }


def empty_tally(dataset: Any) -> Tally:
    """A tally of which nothing was counted yet."""
    return Tally(total=len(dataset), pixels=[0] * dataset.num_classes, images=[0] * dataset.num_classes)


def describe_classes(dataset: Any, tally: Tally) -> list[str]:
    """A table of the classes: share of the valid pixels and number of the images checked that have them."""
    width = max(len("ignored"), *(len(show_class(name)) for name in dataset.class_names))
    lines = [f"{'class':{width}}  pixels      in"]
    for name, pixels, images in class_rows(dataset, tally):
        share = 100 * pixels / max(1, tally.valid)
        lines.append(f"{show_class(name):{width}}  {share:5.2f} %  {images}/{tally.samples} images")
    lines.append(f"{'ignored':{width}}  {100 * tally.ignored_share:5.2f} %  of all pixels")
    return lines


def class_rows(dataset: Any, tally: Tally) -> Iterable[tuple[str, int, int]]:
    """Name, pixels and images of each class."""
    return zip(dataset.class_names, tally.pixels, tally.images, strict=True)
