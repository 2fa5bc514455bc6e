"""Trackers that behave badly in their process: named to it as `tests.runs.recording.trackers.fakes:NAME`."""

import os
import sys
import time

from segkit.runs.recording.trackers.protocol import Report


class Good:
    """Does nothing, and says what it is asked for."""

    keeps_trying = False

    def __init__(self, run, memory, tell):
        self.run, self.tell = run, tell

    def __getattr__(self, name):
        return lambda *arguments: self.answer(name, *arguments)

    def answer(self, name, *arguments):
        self.tell(Report("place", f"{name} {arguments}"[:80]))


class Raises(Good):
    """Raises whatever is asked for, each time another error."""

    keeps_trying = True
    count = 0

    def answer(self, name, *arguments):
        self.count += 1
        raise (SystemExit if self.count % 2 else ValueError)(f"{name}\nno. {self.count}")


class NeverBegins(Raises):
    keeps_trying = False


class Dies(Good):
    def answer(self, name, *arguments):
        if name == "scalars":
            os._exit(5)


class Hangs(Good):
    """Answers nobody from the first scalars on."""

    def answer(self, name, *arguments):
        while name == "scalars":
            time.sleep(60)


class Noisy(Good):
    """Prints much, and changes what its process shares with nobody."""

    def answer(self, name, *arguments):
        print("noise" * 10_000)
        print("noise", file=sys.stderr)
        os.environ["SEGKIT_NOISE"] = "1"
