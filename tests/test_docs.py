"""README and docs/ tell the truth as far as a program can see: links lead somewhere, commands could be typed, snippets
are Python and YAML.

Nothing is run: commands are read by the parsers, and configurations by the loader, that would read them.
"""

import functools
import importlib.util
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from segkit.config.load import load_config
from segkit.errors import ConfigError
from tests.paths import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
HISTORY = ROOT / "CHANGELOG.md"
DOCUMENTS = [ROOT / "README.md", HISTORY, *PAGES]
#: The history names files that are gone.
OF_NOW = [path for path in DOCUMENTS if path != HISTORY]

#: Lines that README.md may have: a screen and a half, and a little.
README_LINES = 130

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_COMMAND = re.compile(r" *(python [\w/]+\.py|segkit [a-z-]+|make [a-z-]+)( |$)")
_FILE = re.compile(r"(segkit|scripts|configs|examples|docs|tests)/[\w/.-]*\w\.(py|yaml|md|jpg|png)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The text without its fenced blocks, in which a bracket is no link and a hash no heading."""
    return _FENCE.sub("", text)


def snippets(text: str, language: str) -> list[str]:
    """The fenced blocks of a language; of those without one, if it is empty."""
    return [code for found, code in _FENCE.findall(text) if found == language]


def anchors(text: str) -> set[str]:
    """What GitHub lets a link to a heading end with."""
    kept = (re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in _HEADING.findall(prose(text)))
    return {words.replace(" ", "-") for words in kept}


def find_broken_links(text: str, folder: Path) -> list[str]:
    """Links and images of a page in `folder` that lead to no file, or to no heading in it."""
    broken = []
    for target in _LINK.findall(prose(text)):
        if re.match(r"\w+:", target):  # elsewhere; nobody asks the network
            continue
        name, _, anchor = target.partition("#")
        there = not name or (folder / name).exists()
        if there and anchor:
            there = anchor in anchors(read(folder / name) if name else text)
        if not there:
            broken.append(target)
    return broken


def find_commands(text: str) -> list[list[str]]:
    """The words of every command line of the project, in a block or between backticks."""
    code = [*snippets(text, ""), *_INDENTED.findall(prose(text))]
    lines = [line for part in code for line in part.replace("\\\n", " ").splitlines()]
    lines += _INLINE.findall(prose(text))
    commands = [shlex.split(line, comments=True) for line in lines if _COMMAND.match(line)]
    return [words[: words.index(">")] if ">" in words else words for words in commands]


def find_script(words: Sequence[str]) -> tuple[Path, list[str]]:
    """The script that a command starts, and its arguments. `segkit check-data` is scripts/check_data.py."""
    if words[0] == "python":
        return ROOT / words[1], list(words[2:])
    script = "train.py" if words[1] == "train" else f"scripts/{words[1].replace('-', '_')}.py"
    return ROOT / script, list(words[2:])


@functools.cache
def parser_of(script: Path) -> Callable[[Sequence[str]], object]:
    """What turns the arguments of a script into a namespace: `parse` of its command."""
    if script.parent.name != "bench":
        return importlib.import_module(f"segkit.cli.{script.stem}").parse
    spec = importlib.util.spec_from_file_location(f"documented_{script.stem}", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parse = module.main.__globals__["bench"].__globals__[
        "parse"
    ]  # the benchmarks share one, which is told who asks
    return lambda arguments: parse(script.stem, "", arguments)


def problem_of(words: Sequence[str]) -> str | None:
    """Why a command could not be typed, None if it could."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE)
        return None if words[1] in targets else f"the Makefile has {', '.join(targets)}"
    script, arguments = find_script(words)
    if not script.is_file():
        return f"no script {name_of(script)}"
    if not arguments:  # the name of a command, in a sentence
        return None
    try:
        args = parser_of(script)(arguments)
        config = getattr(args, "config", None)
        if config and not (ROOT / "configs" / config).is_file():
            return f"no configuration {config}"
        if config and script.name == "train.py" and not args.imports:
            load_config(config, args.overrides)
    except SystemExit:
        return "its parser refuses it"
    except ConfigError as error:
        return str(error)
    return None


def find_missing_files(text: str) -> list[str]:
    """Files of the project that stand between backticks, or that pip is to read, and are not there."""
    named = [word for word in _INLINE.findall(prose(text)) if _FILE.fullmatch(word)]
    named += re.findall(r"pip install -r (\S+)", text)
    return [word for word in named if not (ROOT / word).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path):
    assert find_broken_links(read(path), path.parent) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_commands_could_be_typed(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    problems = {shlex.join(words): problem_of(words) for words in find_commands(read(path))}
    assert {command: problem for command, problem in problems.items() if problem} == {}


@pytest.mark.parametrize("path", OF_NOW, ids=name_of)
def test_files_that_are_named_exist(path):
    assert find_missing_files(read(path)) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_snippets_are_python_and_yaml(path):
    for number, code in enumerate(snippets(read(path), "python"), start=1):
        compile(code, f"{path.name}, Python snippet {number}", "exec")
    for code in snippets(read(path), "yaml"):
        assert isinstance(yaml.safe_load(code), dict), code


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_begins_with_what_it_is_for(path):
    heading, purpose, *_ = read(path).split("\n\n")
    assert re.fullmatch(r"# .+", heading)
    assert re.fullmatch(r"After this page you .+\.", purpose.strip(), re.DOTALL)
    assert not re.search(r"\.\s+[A-Z]", purpose), "one sentence"


def test_every_page_is_in_the_index():
    linked = set(_LINK.findall(read(ROOT / "docs" / "README.md")))
    assert {path.name for path in PAGES} - {"README.md"} <= linked


def test_the_readme_is_short():
    assert len(read(ROOT / "README.md").splitlines()) <= README_LINES


def test_the_citation_is_of_the_newest_version():
    citation = yaml.safe_load(read(ROOT / "CITATION.cff"))
    versions = re.findall(r"^## ([\d.]+) \(([\d-]+)\)$", read(HISTORY), re.MULTILINE)
    assert (citation["version"], citation["date-released"]) == versions[0]


# The checks above find what they look for.


def test_broken_links_are_found():
    text = "# A heading: `x`, 2\n[a](README.md) [b](none.md) [c](#a-heading-x-2) [d](#other) [e](README.md#none)\n"
    assert find_broken_links(text, ROOT) == ["none.md", "#other", "README.md#none"]
    assert find_broken_links("```\n[b](none.md)\n```\n![p](https://example.org/none.jpg)\n", ROOT) == []


def test_commands_are_found():
    text = (
        "In a line, `python train.py --list losses`, and `segkit train`.\n\n"
        "```\npython train.py --config a.yaml \\\n    loss.thresh=0.6   # a comment\nls\n```\n\n"
        "    python scripts/x.py > y\n"
    )
    assert find_commands(text) == [
        ["python", "train.py", "--config", "a.yaml", "loss.thresh=0.6"],
        ["python", "scripts/x.py"],
        ["python", "train.py", "--list", "losses"],
        ["segkit", "train"],
    ]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("python train.py --config ohem.yaml loss.thresh=0.6", None),
        ("segkit check-data data/mine --classes a b", None),
        ("make test", None),
        ("make tests", "the Makefile has"),
        ("python scripts/none.py", "no script scripts/none.py"),
        ("segkit trian --config ohem.yaml", "no script scripts/trian.py"),
        ("python train.py --confg ohem.yaml", "its parser refuses it"),
        ("python scripts/predict.py --weights runs/ohem/TIME --source a.jpg --save pdf", "its parser refuses it"),
        ("python train.py --config ohm.yaml", "no configuration ohm.yaml"),
        ("python train.py --config ohem.yaml loss.treshold=0.6", "command line: 'loss.treshold=0.6': unknown key"),
    ],
)  # fmt: skip
def test_commands_that_could_not_be_typed_are_found(command, problem, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = problem_of(shlex.split(command))
    assert found is None if problem is None else found.startswith(problem)


def test_missing_files_are_found():
    text = "`train.py`, `segkit/errors.py`, `segkit/none.py`, `configs/none.yaml x`, pip install -r none.txt"
    assert find_missing_files(text) == ["segkit/none.py", "none.txt"]
