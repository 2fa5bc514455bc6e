"""Saving what was trained when a run ends by an error."""

from collections.abc import Callable
from pathlib import Path

from segkit.errors import NotFiniteError
from segkit.system.typed import typed
from segkit.training.trainer import Trainer


def rescue(trainer: Trainer, error: BaseException, folder: str, *, tell: Callable[[str], None]) -> None:
    """Save the present iteration, unless it is saved, or the error is that loss or weights are not finite.

    `tell` gets a line on what came of it. Nothing that goes wrong here hides `error`, which is to be raised afterwards.
    Neither Ctrl-C nor the end of the interpreter waits for a save.
    """
    iteration = trainer.iteration
    if not isinstance(error, Exception) or isinstance(error, NotFiniteError):
        return
    if trainer.stepping:
        tell(f"not saved: the error came within the optimizer's step after iteration {iteration:,}")
        return
    if iteration <= max(trainer.saved, 0):
        return
    try:
        trainer.save()
    except Exception as failure:  # of any kind: a GPU after an error refuses everything
        reason = str(failure).partition("\n")[0] or type(failure).__name__
        tell(f"not saved: iteration {iteration:,}: {reason}")
        return
    tell(f"saved     iteration {iteration:,}; continue with: {typed('train', '--resume', Path(folder))}")
