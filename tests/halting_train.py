"""train.py that waits for a signal after some optimizer step, so that the signal comes at that step on any machine.

HALT_AFTER is how many steps it makes before. It then makes the file HALT_MARK and goes on when a signal has come. If
the file is there already, or HALT_ONLY is not in the command line, it never waits.
"""

import os
import runpy
import select
import signal
import sys
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_post_hook

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as if train.py itself had been started

from tests.empty_plots import replace_plots, set_for_good
from tests.paths import ROOT
from tests.processes import HANG_LIMIT

mark, last = Path(os.environ["HALT_MARK"]), int(os.environ["HALT_AFTER"])
steps = 0


def halt(*_: object) -> None:
    global steps
    steps += 1
    if steps != last or mark.exists():
        return
    receive, send = os.pipe()
    os.set_blocking(send, False)
    earlier = signal.set_wakeup_fd(send)  # a byte comes with every signal, before its handler runs
    mark.touch()
    if not select.select([receive], [], [], HANG_LIMIT)[0]:
        sys.exit("nobody sent a signal")
    signal.set_wakeup_fd(earlier)


if os.environ.get("HALT_ONLY", "") in " ".join(sys.argv):
    register_optimizer_step_post_hook(halt)


replace_plots(set_for_good)
runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
