"""From the names that labels have in a tool to class ids."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from segkit.data.files.label_map import IGNORE, REST, LabelMap
from segkit.data.files.validate import shorten
from segkit.errors import ConfigError, DataError
from segkit.system.printable import describe_controls, show_name

BACKGROUND = "background"


class NamedClasses:
    """Which class a label means.

    classes       names of the classes, in the order of their ids
    label_map     label -> class or `ignore`, "*" for all labels that are neither named here nor classes; a label that
                  is a class needs no entry
    background    the class of pixels that nothing is drawn on, or `ignore`
    ignore_index  the id of pixels that count neither in the loss nor in a score

    Raises ConfigError, with every mistake found, for names that contradict each other.
    """

    def __init__(
        self,
        classes: Sequence[str],
        label_map: Mapping[str, str] | None = None,
        *,
        background: str = BACKGROUND,
        ignore_index: int = 255,
    ):
        self.names, self.ignore_index = list(classes), ignore_index
        problems = _find_wrong_names(self.names, ignore_index)
        self._ids = {name: place for place, name in enumerate(self.names)}
        self.background = self._resolve("data.background", background, problems)
        for label, meaning in (label_map or {}).items():
            self._ids[str(label)] = self._resolve(f"data.label_map: {label!r}", meaning, problems)
        if problems:
            raise ConfigError(problems)
        self._rest = self._ids.pop(REST, None)
        #: What `PairedFiles` asks of the values in a file, of which there are none here.
        self.values = LabelMap(None, classes=self.names, ignore_index=ignore_index)

    def id_of(self, label: str, *, source: str, entry: str) -> int:
        """The class id of a label. Raises DataError, naming file and entry, for one that is no class."""
        found = self._ids.get(label, self._rest)
        if found is None:
            close = difflib.get_close_matches(label, self.names, n=1)
            meaning = close[0] if close else IGNORE
            raise DataError(
                f"label not among the classes: {source}, {entry}, is {show_name(label)!r}; data.classes are "
                f"{shorten(self.names)}\n   -> add it to data.classes, or say what it means: "
                f"data.label_map='{{{show_name(label)}: {meaning}}}'"
            )
        return found

    def _resolve(self, key: str, meaning: str, problems: list[str]) -> int:
        if meaning == IGNORE:
            return self.ignore_index
        if meaning in self.names:
            return self.names.index(meaning)
        close = difflib.get_close_matches(meaning, self.names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {shorten(self.names)}, {IGNORE}"
        problems.append(f"{key}: there is no class {show_name(meaning)!r}, {hint}")
        return self.ignore_index


def classes_of(
    labels: Iterable[str], label_map: Mapping[str, str] | None = None, *, background: str = BACKGROUND
) -> list[str]:
    """The names of the classes where nobody lists them: the background, then what the labels mean, sorted.

    Raises ConfigError if that makes fewer than two.
    """
    meanings = {str(label): meaning for label, meaning in (label_map or {}).items()}
    rest = meanings.get(REST)
    found = {meanings.get(label, label if rest is None else rest) for label in labels} - {IGNORE, background}
    names = [*([] if background == IGNORE else [background]), *sorted(found)]
    if len(names) < 2:
        count = f"the class {names[0]!r} alone" if names else "no class"
        raise ConfigError(
            f"data.classes: the labels make {count}; at least 2 are needed -> name them: data.classes"
        )
    return names


def _find_wrong_names(names: Sequence[str], ignore_index: int) -> list[str]:
    problems = []
    if 0 <= ignore_index < len(names):
        problems.append(
            f"data.ignore_index={ignore_index} is also the id of the class {names[ignore_index]!r}\n"
            "   -> an id that no class has, such as data.ignore_index=65535"
        )
    for name in names:
        if wrong := describe_controls(name):
            problems.append(f"data.classes: {wrong}")
        if name in (IGNORE, REST):
            problems.append(f"data.classes: a class cannot be called {name!r}, which label_map uses")
    problems += [
        f"data.classes names {name!r} twice" for name in sorted(set(names)) if list(names).count(name) > 1
    ]
    return problems
