"""Names to constructors. The only tables in segkit that map a word in a file to code.

A component is added by one new file in the registry's package (or, outside segkit, in a file given to
`--import`) that applies the decorator:

    @MODELS.register("my_net")
    class MyNet(torch.nn.Module):
        def __init__(self, num_classes: int, *, width: int = 32): ...

The constructor's signature is the schema of its configuration block. Arguments listed in `given` are supplied
by segkit when the component is built, and never by the configuration file.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any


class UnknownName(LookupError):
    """No component of this name is registered; `suggestion` is the nearest name, or None."""

    def __init__(self, kind: str, name: str, known: list[str]):
        self.kind, self.name, self.known = kind, name, known
        close = difflib.get_close_matches(name.lower(), known, n=1)
        self.suggestion = close[0] if close else None
        hint = (
            f", did you mean '{self.suggestion}'?" if self.suggestion else f"; there are: {', '.join(known)}"
        )
        super().__init__(f"no {kind} named '{name}'{hint}")


class Registry:
    """Constructors by name (names are case-insensitive).

    `package` is imported, with all its modules, on the first look-up, so that adding a file is all that
    registering takes. `given` names the arguments that segkit supplies at build time.
    """

    def __init__(self, kind: str, *, package: str, given: tuple[str, ...] = ()):
        self.kind, self.package, self.given = kind, package, given
        self._constructors: dict[str, Callable[..., Any]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[Callable], Callable]:
        """Decorator that files a constructor under `name`. Raises ValueError if the name is taken."""

        def file(constructor: Callable) -> Callable:
            if not constructor.__module__.startswith(self.package):
                self._load()  # first segkit's own, so that a name they have is refused to the newcomer
            key = name.lower()
            taken = self._constructors.get(key)
            if taken is not None:
                raise ValueError(
                    f"the {self.kind} name '{name}' is taken by {taken.__module__}.{taken.__qualname__}; "
                    f"choose another name for {constructor.__module__}.{constructor.__qualname__}"
                )
            self._constructors[key] = constructor
            return constructor

        return file

    def get(self, name: str) -> Callable[..., Any]:
        """The constructor of that name. Raises UnknownName with the nearest name."""
        self._load()
        try:
            return self._constructors[name.lower()]
        except KeyError:
            raise UnknownName(self.kind, name, self.names()) from None

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._load()
        return sorted(self._constructors)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # first, because the modules imported here may look names up themselves
        try:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(getattr(package, "__path__", []), f"{self.package}."):
                importlib.import_module(module.name)
        except BaseException:
            self._loaded = False  # else the next look-up would blame the name for a file that fails to import
            raise


MODELS = Registry("model", package="segkit.models", given=("num_classes", "in_channels"))
LOSSES = Registry("loss", package="segkit.losses", given=("num_classes", "ignore_index"))
CRITERIA = Registry("criterion", package="segkit.losses.criteria", given=("num_classes", "ignore_index"))
SELECTIONS = Registry("selection", package="segkit.losses.selections")
DATASETS = Registry("dataset", package="segkit.data.datasets", given=("split",))
WEIGHT_MAPS = Registry(
    "weight map",
    package="segkit.data.weight_maps",
    given=("num_classes", "ignore_index", "class_names"),
)
AUGMENTS = Registry("augment", package="segkit.data.augments", given=("ignore_index",))
OPTIMIZERS = Registry("optimizer", package="segkit.optimizers", given=("params",))
SCHEDULES = Registry("schedule", package="segkit.learning_rates", given=("progress",))
