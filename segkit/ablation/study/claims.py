"""What a study is to claim: at which level, and how large a difference does not matter."""

from typing import Any

from segkit.ablation.statistics.chance.distributions import HIGHEST_LEVEL
from segkit.config.messages import show_value

#: The level of intervals where nobody asks for another.
LEVEL = 0.95
#: What runs are compared by where nobody asks for something else.
METRICS = ("miou",)
#: Those of confidence, which training counts only where it is asked to.
OF_CONFIDENCE = ("ece", "brier", "classwise_ece")


def check_margin(points: Any) -> str | None:
    """Why `points` is no margin, None if it is."""
    if isinstance(points, int | float) and not isinstance(points, bool) and 0 < points < 100:
        return None
    return f"expected points of mIoU that do not matter, such as 0.5, got {show_value(points)}"


def check_margin_of(metric: str) -> str | None:
    """Why differences by a metric of that name can have no margin, None if they can."""
    from segkit.ablation.statistics.metrics import OF_A_CLASS, WHOLE  # late, because it needs NumPy
    from segkit.ablation.statistics.unit import POINTS

    known = WHOLE.get(metric) or OF_A_CLASS.get(metric.partition("/")[0])
    if known is None or known.unit is POINTS:
        return None
    return f"it is in points, and {metric} is not -> put another metric first, or leave the margin out"


def check_level(level: Any) -> str | None:
    """Why `level` is none for intervals, None if it is."""
    if isinstance(level, int | float) and not isinstance(level, bool) and 0.5 <= level <= HIGHEST_LEVEL:
        return None
    return (
        f"expected the level of the intervals, 0.5 to {HIGHEST_LEVEL}, such as 0.95, got {show_value(level)}"
    )
