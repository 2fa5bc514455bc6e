"""Masks whose values were changed near edges: smoothed, resized, or compressed with loss."""

from segkit.data.check.finding import Finding, problem
from segkit.data.check.propose.options import show_raw
from segkit.data.check.raw_values import RawValues
from segkit.data.files.validate import shorten
from segkit.system.printable import show_path


def find_smoothing(raw: RawValues, values: list[int]) -> tuple[list[Finding], bool]:
    """Masks that were smoothed or compressed with loss, and whether values are left over by that."""
    if not raw.smoothed and not raw.lossy:
        return [], False
    rest = sorted(raw.pixels.keys() - set(values))
    share = sum(raw.pixels[value] for value in rest) / max(1, raw.total)
    shown = shorten([show_raw(value, raw) for value in rest], most=6)
    amount = f", {100 * share:.2f} % of the pixels"
    ignored = "; the data: block ignores such pixels" if rest else ": not all of these values were drawn"
    found = [
        problem(
            "lossy-masks",
            f"{len(paths)} of {raw.count} masks are compressed as {codec}, which changes labels near edges"
            f"{f': {shown} were drawn as others{amount}' if rest else ''}; {show_path(paths[0])}\n"
            f"   -> save masks as PNG, from what they were made of{ignored}",
            paths,
        )
        for codec, paths in raw.lossy.items()
    ]
    lossy = {path for paths in raw.lossy.values() for path in paths}
    smoothed = [path for path in raw.smoothed if path not in lossy]
    if smoothed:
        text = (
            f"{len(smoothed)} of {raw.count} masks were smoothed or resized"
            f"{f': {shown} lie on edges{amount}' if rest else ''}; {show_path(smoothed[0])}\n"
            "   -> make the masks anew, resized with `nearest` and saved as PNG; the data: block ignores such pixels"
        )
        found.append(problem("soft-masks", text, smoothed))
    return found, bool(rest)
