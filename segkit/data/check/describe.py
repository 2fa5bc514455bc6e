"""What a check found, as text for people."""

from collections.abc import Iterable, Mapping, Sequence

from segkit.data.check.finding import Finding
from segkit.data.check.raw_values import RawValues
from segkit.data.check.report_files import CheckFiles
from segkit.data.check.tally import Tally
from segkit.system.console import table
from segkit.system.printable import show_class

#: Classes up to which the table has them all; beyond, the most and the least frequent.
MOST_CLASSES = 40
MOST_KINDS = 3
MOST_VALUES = 30


def describe_part(name: str, tally: Tally) -> str:
    """`train     367 of 367 usable   480x360   images RGB JPEG   masks L PNG, values 0-11`."""
    text = f"{name:9} {tally.samples:,} of {tally.total:,} usable"
    sizes = [f"{width}x{height}" for (height, width), _ in tally.sizes.most_common()]
    text += f"   {_list_kinds(sizes)}" if sizes else ""
    for what, kinds in (("images", tally.image_kinds), ("masks", tally.mask_kinds)):
        if kinds:
            text += f"   {what} {_list_kinds([kind for kind, _ in kinds.most_common()])}"
    if tally.values:
        text += f", values {ranges(tally.values)}"
    if tally.colours:
        text += f", {len(tally.colours)} colours"
    return text


def describe_values(raw: RawValues) -> list[str]:
    """A row for each value of the masks: its share of the pixels, the masks that have it, its colour in a palette."""
    shown = sorted(raw.drawn_values(), key=lambda value: (-raw.pixels[value], value))[:MOST_VALUES]
    rows = []
    for value in sorted(shown):
        name = f"#{value:06x}" if raw.are_colours else str(value)
        colour = f"#{raw.palette[value]:06x}" if value in raw.palette else ""
        share = 100 * raw.pixels[value] / max(1, raw.total)
        rows.append([name, f"{share:.2f} %", f"in {raw.masks[value]:,} of {raw.count:,} masks", colour])
    if not rows:
        return []  # no mask could be read
    what = "colours" if raw.are_colours else "values"
    lines = [f"{what if not n else '':9} {line}" for n, line in enumerate(table(rows).splitlines())]
    left_out = len(raw.pixels) - len(shown)
    return [
        *lines,
        *(
            [f"          and {left_out} {'on edges' if raw.smoothed or raw.lossy else 'rarer ones'}"]
            if left_out
            else []
        ),
    ]


def ranges(values: Iterable[int]) -> str:
    """`0-11, 255` for the numbers 0, 1 ... 11 and 255; many of them are cut."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:10], "...", shown[-1]])


def describe_class_shares(class_names: Sequence[str], tallies: Mapping[str, Tally]) -> str:
    """A row per class: its share of the labelled pixels and the number of images that have it, in each part."""
    rows = [["class", *(text for part in tallies for text in (f"{part} pixels", "images"))]]
    places = sorted(range(len(class_names)), key=lambda n: -sum(t.pixels[n] for t in tallies.values()))
    shown, left_out = set(places), 0
    if len(places) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        shown, left_out = {*places[:half], *places[-half:]}, len(places) - 2 * half
    for n, name in enumerate(class_names):
        if n in shown:
            rows.append(
                [show_class(name), *(text for tally in tallies.values() for text in _class_cells(tally, n))]
            )
    rows.append(
        ["ignored", *(text for t in tallies.values() for text in (f"{100 * t.ignored_share:.2f} %", ""))]
    )
    rest = (
        f"\n({left_out} classes of medium frequency are only in {CheckFiles.check.name})" if left_out else ""
    )
    return table(rows) + rest


def describe_findings(findings: Sequence[Finding]) -> list[str]:
    """The findings, problems first, each under its severity."""
    lines = []
    for severity in ("problem", "warning", "note"):
        for finding in findings:
            if finding.severity == severity:
                first, *others = finding.text.splitlines()
                lines += [f"{severity:9} {first}", *(f"          {line.strip()}" for line in others)]
    return lines


def describe_result(findings: Sequence[Finding]) -> str:
    """`result    2 problems, 1 warning`."""
    counts = {s: sum(finding.severity == s for finding in findings) for s in ("problem", "warning", "note")}
    found = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
    verdict = (
        "training would fail or learn something else than meant" if counts["problem"] else "fine to train on"
    )
    return f"result    {', '.join(found) or 'nothing odd'}: {verdict}"


def _class_cells(tally: Tally, n: int) -> tuple[str, str]:
    return f"{100 * tally.pixels[n] / max(1, tally.valid):.2f} %", f"{tally.images[n]:,}"


def _list_kinds(kinds: Sequence[str]) -> str:
    more = f" and {len(kinds) - MOST_KINDS} more" if len(kinds) > MOST_KINDS else ""
    return ", ".join(kinds[:MOST_KINDS]) + more
