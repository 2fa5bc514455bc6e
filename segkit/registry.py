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
from collections.abc import Callable, Iterable
from typing import Any

#: More names than that do not fit into one line of a message.
MOST_NAMES = 20


class UnknownName(LookupError):
    """No component of this name is registered; `suggestion` is the nearest name, or None.

    `lists_names` tells whether the message has the names that there are.
    """

    def __init__(self, kind: str, name: str, known: list[str]):
        self.kind, self.name, self.known = kind, name, known
        spellings = {word.lower(): word for word in known}
        close = difflib.get_close_matches(name.lower(), spellings, n=1)
        self.suggestion = spellings[close[0]] if close else None
        hint = f", did you mean '{self.suggestion}'?" if self.suggestion else ""
        self.lists_names = not hint and len(known) <= MOST_NAMES
        if self.lists_names:
            hint = f"; there are: {', '.join(known)}"
        super().__init__(f"no {kind} named '{name}'{hint}")


class RefusedName(UnknownName):
    """A name that people look for and segkit does not offer: `reason` says why, `instead` what to use."""

    def __init__(self, kind: str, name: str, known: list[str], *, reason: str, instead: str):
        super().__init__(kind, name, known)
        self.reason, self.instead = reason, instead
        self.args = (f"{name} cannot be a {kind}: {reason}",)


class Registry:
    """Constructors by name (names are case-insensitive, and shown as they were registered).

    `package` is imported, with all its modules and those of its `folders`, on the first look-up of what has no file of
    its name, so that adding a file is all that registering takes. `given` names the arguments that segkit supplies at
    build time.
    """

    def __init__(
        self, kind: str, *, package: str, folders: tuple[str, ...] = (), given: tuple[str, ...] = ()
    ):
        self.kind, self.package, self.given = kind, package, given
        self.packages = (package, *(f"{package}.{folder}" for folder in folders))
        self._constructors: dict[str, Callable[..., Any]] = {}
        self._spellings: dict[str, str] = {}
        self._refused: dict[str, tuple[str, str]] = {}
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
            self._spellings[key] = name
            return constructor

        return file

    def refuse(self, name: str, reason: str, instead: str) -> None:
        """Answer `name` with why it is not offered and what to use, rather than as unknown."""
        self._refused[name.lower()] = (reason, instead)

    def get(self, name: str) -> Callable[..., Any]:
        """The constructor of that name. Raises UnknownName with the nearest name, RefusedName with the reason."""
        key = name.lower()
        if key not in self._constructors:
            self._import_file_of(key)
        if key not in self._constructors:
            self._load()
        if key in self._constructors:
            return self._constructors[key]
        if key in self._refused:
            reason, instead = self._refused[key]
            raise RefusedName(self.kind, name, self.names(), reason=reason, instead=instead)
        raise UnknownName(self.kind, name, self.names())

    def names(self) -> list[str]:
        """All registered names, sorted; those in small letters, which are segkit's own, before the others."""
        self._load()
        return self.in_order(self.imported())

    def imported(self) -> list[str]:
        """The names that are registered so far, in any order. Imports nothing."""
        return [self.spell(key) for key in self._constructors]

    def in_order(self, names: Iterable[str]) -> list[str]:
        """The names as `names` sorts them, each once."""
        return sorted(set(names), key=lambda name: (name != name.lower(), name))

    def spell(self, name: str) -> str:
        """A registered name as it was registered."""
        return self._spellings.get(name.lower(), name.lower())

    def _import_file_of(self, key: str) -> None:
        """Import the file that is called like the component, if there is one: all others may need what it does not."""
        if key.isidentifier() and not key.startswith("_"):
            for name in self.packages:
                if f"{name}.{key}" in _modules_of(name):
                    importlib.import_module(f"{name}.{key}")

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # first, because the modules imported here may look names up themselves
        try:
            for name in self.packages:
                for module in _modules_of(name):
                    importlib.import_module(module)
        except BaseException:
            self._loaded = False  # else the next look-up would blame the name for a file that fails to import
            raise


def _modules_of(name: str) -> list[str]:
    """The full names of what lies in a package, which is imported."""
    package = importlib.import_module(name)
    return [module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []), f"{name}.")]


MODELS = Registry("model", package="segkit.models", folders=("extras",), given=("num_classes", "in_channels"))
LOSSES = Registry(
    "loss", package="segkit.losses", folders=("pixelwise", "regions"), given=("num_classes", "ignore_index")
)
CRITERIA = Registry("criterion", package="segkit.losses.criteria", given=("num_classes", "ignore_index"))
SELECTIONS = Registry("selection", package="segkit.losses.selections")
DATASETS = Registry(
    "dataset", package="segkit.data.datasets", folders=("tools", "containers"), given=("split",)
)
WEIGHT_MAPS = Registry(
    "weight map",
    package="segkit.data.weight_maps",
    given=("num_classes", "ignore_index", "class_names"),
)
AUGMENTS = Registry("augment", package="segkit.data.augments", given=("ignore_index",))
TRANSFORMS = Registry("transform", package="segkit.data.transforms", given=("ignore_index",))
OPTIMIZERS = Registry("optimizer", package="segkit.training.optimizers", given=("params",))
SCHEDULES = Registry("schedule", package="segkit.training.learning_rates", given=("progress",))
