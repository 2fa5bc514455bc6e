"""What torchrun adds to the output of the processes that it starts: its log, and a traceback of its own."""

import re
from collections.abc import Iterable

#: `W1128 12:00:00.123000 4711 torch/distributed/run.py:852] ...`, with the path of the file in older versions.
_LOG_LINE = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ \d+ \S*torch/distributed/\S+\.py:\d+\] ?")
_TRACEBACK = "Traceback (most recent call last):"
#: How the errors begin in which torchrun ends; banners follow.
_OWN_ERRORS = ("torch.distributed.elastic.",)


def without_torchrun(lines: Iterable[str]) -> list[str]:
    """The lines of the processes: without torchrun's log, and without its own traceback and what follows that."""
    kept = [line for line in lines if not _LOG_LINE.match(line)]
    for start, line in enumerate(kept):
        if line == _TRACEBACK and _error_of(kept[start + 1 :]).startswith(_OWN_ERRORS):
            return kept[:start]
    return kept


def _error_of(lines: list[str]) -> str:
    """The line of the error under a traceback, which is the first that is not indented; empty without one."""
    return next((line for line in lines if line and not line.startswith(" ")), "")
