"""What happens to a run of several processes when one of them, the disk or the launcher fails: all end, one says why,
and the latest iteration is saved where that is possible."""

import os
import signal

import pytest

from tests.distributed.launch import train

pytestmark = pytest.mark.faults

LOST = "lost rank {} of {} without a word: killed, out of memory, or the machine is out of reach"
#: fault, rank, processes: the first line on stderr, exit status in status.json, and whether iteration 15 is saved.
CASES = {
    "killed": ("hangs", 1, 2, LOST.format(1, 2), 9, True),
    "the main one killed": ("hangs", 0, 2, LOST.format(0, 2), 9, True),
    "one of three killed": ("hangs", 2, 3, LOST.format(2, 3), 9, True),
    "bad file": ("bad file", 1, 2, "cannot read images/0007.png: truncated", 3, True),
    "bad file in the main one": ("bad file", 0, 2, "cannot read images/0007.png: truncated", 3, True),
    "bug": ("bug", 1, 2, None, 1, True),
    "memory": ("memory", 1, 2, "out of memory at batch 4, 64x64 pixels", 8, True),
    "not a number": ("not a number", 1, 2, "the loss is nan in the update after iteration 15;", 5, False),
    "full disk": ("full disk", 0, 2, "cannot write runs/debug/", 7, False),
}


@pytest.mark.parametrize("name", CASES)
def test_one_process_fails(name, tmp_path):
    fault, rank, processes, message, code, saved = CASES[name]

    def kill(launched):
        if fault == "hangs":
            os.kill(launched.ranks[rank], signal.SIGKILL)

    words = [f"train.batch_size={2 * processes}"]
    launched = train(tmp_path, *words, act=kill, fault=fault, rank=rank, processes=processes, iterations=40)
    status = launched.status
    assert launched.process.returncode == 1
    assert status["state"] == "failed" and status["exit_code"] == code
    if message is None:  # a traceback, of the process with the bug only
        assert launched.err.count("Traceback") == launched.err.count("ValueError: a bug") == 1
        assert f"rank {rank} on " in status["error"]
    else:
        assert launched.err.count(message) == 1 and message in status["error"]
        assert launched.err.startswith("rank ") and status["error"].startswith("rank ")
    newest = max((launched.run / "checkpoints").glob("*.pt"))
    assert status["checkpoint"].endswith(newest.name)
    assert newest.name == ("000015.pt" if saved else "000010.pt")


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, 143)], ids=str
)
def test_the_launcher_is_asked_to_end_or_dies(number, code, tmp_path):
    launched = train(tmp_path, act=lambda launched: os.kill(launched.process.pid, number), iterations=100_000)
    status = launched.status
    assert status["state"] == "stopped" and status["exit_code"] == code
    assert status["iteration"] >= 15 and status["checkpoint"].endswith(f"{status['iteration']:06d}.pt")
    assert launched.err == "" and launched.out.count("stopped   after ") == 1


def test_ctrl_c_in_the_terminal(tmp_path):
    """The terminal's reaches the launcher, whose own reaches the processes: one request, not two."""
    launched = train(
        tmp_path, act=lambda launched: os.killpg(launched.process.pid, signal.SIGINT), iterations=100_000
    )
    assert launched.status["state"] == "stopped" and launched.status["exit_code"] == 130
