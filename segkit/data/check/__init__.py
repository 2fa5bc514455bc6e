"""What is wrong or odd in a data set: a look before training, and the whole of it with `segkit check-data`."""

from segkit.data.check.before_training import CheckReport, check_data
from segkit.data.check.tally import Tally

__all__ = ["CheckReport", "Tally", "check_data"]
