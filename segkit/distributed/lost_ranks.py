"""Why a run of several processes ended: said once, whichever of them noticed."""

import json
import socket
import time
from typing import Any

from segkit import errors
from segkit.errors import SegkitError

#: Seconds that those who lost a connection wait for the process that knows why.
_WAIT = 5.0
_POLL = 0.1
_FAILURE = "segkit/failure"
#: In the texts of torch's errors about connections, which are plain RuntimeErrors where gloo raises them.
_LOST = ("gloo/", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")


class EndedElsewhere(SegkitError):
    """Another process of the run has failed, and says so itself; this one ends silently, and where the others know of
    it with the same exit status."""

    silent = True

    def __init__(self, reason: str, exit_code: int, kind: str = ""):
        super().__init__(reason)
        self.exit_code, self.kind = exit_code, kind

    def as_there(self) -> SegkitError:
        """An error of the class that it has in the other process, `kind` of segkit.errors; this one for any other."""
        there = vars(errors).get(self.kind)
        known = isinstance(there, type) and issubclass(there, SegkitError)
        return there(str(self)) if known else self


class LostRank(SegkitError):
    """A process of the run is gone and left no word: it was killed, or its machine is out of reach."""

    exit_code = 9

    def __init__(self, message: str, lost: list[int]):
        super().__init__(message)
        self.lost = lost


class FailureBoard:
    """Where the first process that fails leaves its reason, with the launcher, whose `store` it is."""

    def __init__(self, store: Any, rank: int, world: int):
        self.store, self.rank, self.world = store, rank, world

    def judge(self, error: BaseException) -> BaseException:
        """What this process, which has left the others, is to end with: its own error, with the rank in its text, or
        EndedElsewhere where another process was first.

        A lost connection is no reason: those who notice it wait for one, and the first to have waited in vain says who
        is gone.
        """
        try:
            if is_lost_connection(error):
                error = self._explain_loss(error)
            if isinstance(error, EndedElsewhere):
                return error
            name_rank(error, self.rank)
            return self._claim(error)
        except RuntimeError:  # torch's, of a store whose machine is gone: there is nobody to agree with
            return error

    def _explain_loss(self, error: BaseException) -> BaseException:
        self.store.set(self._gone(self.rank), "")
        until = time.monotonic() + _WAIT
        while time.monotonic() < until:
            if self.store.check([_FAILURE]):
                return self._read()
            time.sleep(_POLL)
        silent = [rank for rank in range(self.world) if not self.store.check([self._gone(rank)])]
        if not silent:  # nobody is missing: the network was at fault
            return error
        who = f"rank{'s' if len(silent) > 1 else ''} {', '.join(map(str, silent))}"
        lost = LostRank(
            f"lost {who} of {self.world} without a word: killed, out of memory, or the machine is out of reach\n"
            "   -> see the launcher's own lines for its signal; --resume continues from the last checkpoint",
            silent,
        )
        lost.__cause__ = error
        return lost

    def _claim(self, error: BaseException) -> BaseException:
        code = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)
        reason = str(error)
        if not isinstance(error, SegkitError):
            reason = f"rank {self.rank} on {socket.gethostname()}: {type(error).__name__}: {error}"
        kind = type(error).__name__
        mine = json.dumps({"rank": self.rank, "reason": reason, "exit_code": code, "kind": kind}).encode()
        first = self.store.compare_set(_FAILURE, "", mine.decode())
        return error if first == mine else self._read()

    def _read(self) -> EndedElsewhere:
        found = json.loads(self.store.get(_FAILURE))
        return EndedElsewhere(found["reason"], found["exit_code"], found["kind"])

    @staticmethod
    def _gone(rank: int) -> str:
        return f"segkit/gone/{rank}"


def is_lost_connection(error: BaseException) -> bool:
    """Whether this is what torch raises in a process that waits for one that is gone."""
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _LOST)


def name_rank(error: BaseException, rank: int) -> None:
    """Put the rank into the text of an error."""
    if isinstance(error, SegkitError):
        error.args = (f"rank {rank} on {socket.gethostname()}: {error}",)
    else:
        error.add_note(f"on rank {rank}, {socket.gethostname()}")
