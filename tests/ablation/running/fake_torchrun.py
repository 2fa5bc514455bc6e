"""In the place of torchrun: starts a command in several processes and passes signals on, without importing torch.

Like torchrun it ends with 1 whatever happened, and adds log lines and a traceback to what the processes print.
"""

import os
import signal
import subprocess
import sys
from types import FrameType

words = sys.argv[1:]
standalone, option, count, no_python = words[:4]
assert (standalone, option, no_python) == ("--standalone", "--nproc-per-node", "--no-python")
LOG = "W1128 16:27:34.095000 32737 torch/distributed/elastic/multiprocessing/api.py:1028]"
END = """\
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
/home/me/train.py FAILED
------------------------------------------------------------
"""

processes: list[subprocess.Popen] = []


def pass_on(number: int, _frame: FrameType | None) -> None:
    for process in processes:
        if process.poll() is None:
            print(f"{LOG} Sending process {process.pid} closing signal", file=sys.stderr, flush=True)
            os.killpg(process.pid, number)


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, pass_on)
print(f"{LOG} torchrun as {os.getpid()}.", flush=True)
for rank in range(int(count)):
    place = {"RANK": str(rank), "WORLD_SIZE": count}
    processes.append(subprocess.Popen(words[4:], env={**os.environ, **place}, start_new_session=True))
codes = [process.wait() for process in processes]
if any(codes):
    print(f"{LOG} failed (exitcode: 5) local_rank: 0", END, sep="\n", file=sys.stderr)
    sys.exit(1)
