"""Who writes out the name of a file that a folder class has, and the checker that walks the texts for it."""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

_DEFINITIONS = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def find_written_names(root: Path, names: Collection[str], *, home: str, below: str = "segkit") -> list[str]:
    """`file:line 'text'` for each text in `root`/`below` that has one of `names`, except in the file `home`.

    Docstrings and comments do not count; the parts of an f-string do. A name without a dot is an ordinary word too, so
    it counts as the end of a path, or with a slash behind it.
    """
    found = []
    for path in sorted((root / below).rglob("*.py")):
        shown = path.relative_to(root).as_posix()
        if shown != home:
            texts = _texts(ast.parse(path.read_text(encoding="utf-8"), shown))
            found += [f"{shown}:{line} {text!r}" for line, text in texts if has_name(text, names)]
    return found


def has_name(text: str, names: Collection[str]) -> bool:
    """Whether the text has one of the names: `x/config.yaml`, `its config.yaml, which`, `checkpoints/*.pt`, `a/tb`."""
    return any(_pattern(name).search(text) for name in names)


def _pattern(name: str) -> re.Pattern[str]:
    written = rf"(?<![\w.-]){re.escape(name)}"
    return re.compile(rf"{written}(?![\w-])" if "." in name else rf"{written}/|(?:^|/){re.escape(name)}$")


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and content of every string that is not a docstring."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, _DEFINITIONS) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value
