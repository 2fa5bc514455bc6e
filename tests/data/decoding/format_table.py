"""docs/formats.md: what is read of every kind of file of format_cases.py.

python -m tests.data.decoding.format_table docs/formats.md
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.data.decoding.format_case import Case
from tests.data.decoding.format_cases import CASES
from tests.data.decoding.test_formats import as_bytes, read_case

START = """# Which files are read, and as what

After this page you know what segkit makes of an image or a mask that a tool of yours has written.

Each row is a file that the tool wrote, with labels or pixels that were drawn, and what training, predictions and
`scripts/check_data.py`, which share one reader, made of it. The table is made by
`python -m tests.data.decoding.format_table docs/formats.md`, which needs the tools: the extras `test` and
`formats-test`. The rows are tests too (`tests/data/decoding/test_formats.py`; those of a tool that is not installed are
skipped). TIFF files beyond what Pillow shows need the extra `formats` (`pip install tifffile imagecodecs`). What is
refused says why, and nothing is read otherwise than the table says. Images of more than 8 bits are brought to 8 by
[`data.value_range`](data.md#more-than-8-bits-more-than-three-bands), here `auto`.

"""


def describe(case: Case) -> str:
    """What became of a case, compared pixel by pixel."""
    with tempfile.TemporaryDirectory() as place:
        happened, drawn, read = read_case(case, Path(place))
    if read is None:
        reason = happened.splitlines()[0].replace(place, "").partition(": ")[2]
        return f"refused: {reason.replace('|', '/')}"
    if case.what == "mask":
        wrong = float((read != drawn).mean())
        lossy = "; the check calls it compressed with loss" if case.expected == "lossy" else ""
        return f"{100 * wrong:.1f} % of the pixels wrong{lossy}" if wrong else f"as drawn{lossy}"
    expected = as_bytes(drawn)
    off = int(np.abs(read.astype(int) - expected).max())
    how = "as drawn" if drawn.dtype == np.uint8 else "from the darkest to the lightest number"
    return f"{read.shape[2]} band{'s' * (read.shape[2] > 1)}, {how}" + (f" within {off}" if off > 1 else "")


def main(path: Path) -> None:
    lines = [START]
    for what in ("mask", "image"):
        lines.append(f"## {what.capitalize()}s\n\n| written by | file | is read |\n| --- | --- | --- |\n")
        for case in CASES:
            if case.what == what:
                lines.append(f"| {case.written_by} | {case.title} ({case.suffix[1:]}) | {describe(case)} |\n")
        lines.append("\n")
    path.write_text("".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
