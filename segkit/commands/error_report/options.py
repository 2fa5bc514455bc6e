"""What can be asked of the page of an evaluation, for those who have not asked for one: it loads none of what draws."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segkit.errors import ConfigError

#: By what images are ranked: mIoU of their own confusion matrix, or the share of their pixels that are wrong.
Rank = Literal["miou", "wrong"]


@dataclass(frozen=True)
class ReportOptions:
    """Where the page goes, how many images it shows, and by what they are ranked."""

    path: Path
    worst: int = 12
    rank: Rank = "miou"

    def check(self) -> None:
        """Raises ConfigError, before anything is scored, for what would be no page."""
        if self.worst < 1:
            raise ConfigError(f"--worst is a number of images, at least 1, got {self.worst} -> --worst 12")
        if self.path.is_dir():
            raise ConfigError(
                f"--report is a file, and {self.path} is a folder -> --report {self.path / 'errors.html'}"
            )
