"""Whatever is printed to be typed next can be pasted into a shell, whatever the folders are called."""

import glob
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.commands.visualise.run import describe_command
from segkit.config.load import load_config
from segkit.config.yaml_source import parse_yaml, setting, to_plain
from segkit.data.files.published import find_root
from segkit.errors import ConfigError, DataError
from segkit.system.typed import quote, typed
from tests.paths import ROOT
from tests.scripts import run_script

#: Names of folders that a shell takes apart, or for an option, if they are not quoted.
NAMES = (
    "my data",
    "it's",
    'a "b"',
    "$HOME",
    "(1)",
    "-x",
    "a;b",
    "a&b",
    "`ls`",
    "x*",
    "#1",
    "~",
    "back\\slash",
    "a: b",
)


def test_plain_names_stand_as_they_are():
    assert typed("check_data", Path("data/mine_1.x")) == "python scripts/check_data.py data/mine_1.x"
    assert typed("train", "--config", Path("ohem.yaml")) == "python train.py --config ohem.yaml"
    assert setting("data.root", "/data/mine") == "data.root=/data/mine"


@pytest.mark.parametrize("name", [*NAMES, *(f"data/{name}/runs" for name in NAMES)])
def test_a_path_is_one_word_and_no_option(name):
    *start, word = shlex.split(typed("train", "--resume", Path(name)))
    assert start == ["python", "train.py", "--resume"] and not word.startswith("-")
    assert Path(word) == Path(name)


@pytest.mark.parametrize("name", ["a\nb", "tab\t", "\x1b[31m", "turned\u202e", "it's\n$x\\", "\udcff"])
def test_a_shell_reads_what_is_not_printable(name):
    word = quote(Path(name))
    assert word.isprintable()
    read = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout
    assert read == name.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "value", [*NAMES, "null", "12", "{a}", "[x", "", "a #b", ["a", "b c"], {"name": "it's"}]
)
def test_a_setting_is_one_word_that_reads_back(value):
    [word] = shlex.split(setting("data.root", value))
    key, _, text = word.partition("=")
    node, mistakes = parse_yaml(text, "")
    assert (key, mistakes) == ("data.root", [])
    assert to_plain(node) == value


@pytest.mark.parametrize("name", [name for name in NAMES if name != "~"])
def test_a_root_that_is_near_and_a_command_that_prepares_one(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (Path(name) / "VOC" / "images").mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        find_root("voc", f"./{name}", ["images"])
    [setting_near] = shlex.split(str(caught.value).partition("-> ")[2])
    root = load_config("voc/ohem.yaml", [setting_near]).data.params["root"]
    assert Path(root) == Path(name) / "VOC"
    with pytest.raises(DataError) as caught:
        find_root("voc", f"./{name}/none", ["images"])
    words = shlex.split(str(caught.value).partition("-> ")[2])
    assert words[:4] == ["python", "scripts/prepare_data.py", "voc", "--root"]
    assert Path(words[4]) == Path(name) / "none" and not words[4].startswith("-")


def test_the_commands_of_a_preview_and_of_an_ablation_that_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(describe_command("-x.yaml", ["name=it's $me"], seed=3))
    assert words[2:] == ["--config", "./-x.yaml", "name=it's $me", "--seed", "3"]
    Path("an (1).yaml").write_text("variants: {}\n")
    with pytest.raises(ConfigError) as caught:
        load_config("an (1).yaml")
    assert shlex.split(str(caught.value).partition("-> ")[2])[2:] == ["--config", "an (1).yaml"]


def test_no_command_is_printed_with_a_word_that_was_not_quoted():
    """`typed` and `quote` take the words: nothing is put behind their text but a placeholder in capitals."""
    after = re.compile(r"""typed\((['"])\w+\1\)\}[^"\n]*(?<!\{)\{(?!\{)""")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "segkit").rglob("*.py")
        for line in path.read_text().splitlines()
        if after.search(line)
    ]
    assert found == []


def write_many_classes(root: Path, count: int, *, unlabelled: int | None = None) -> None:
    """A folder of 5 images whose masks are 16-bit files of the ids 0 ... count-1, in squares of 4 pixels."""
    random = np.random.default_rng(0)
    side = -(-(count**0.5) // 1)
    for n, split in enumerate(("train", "train", "train", "val", "val")):
        ids = (random.permutation(int(side**2)) % count).reshape(int(side), int(side))
        ids = np.kron(ids, np.ones((4, 4), dtype=int)).astype(np.uint16)
        if unlabelled is not None:
            ids[:2] = unlabelled
        for kind, pixels in (
            ("images", random.integers(0, 256, (*ids.shape, 3), dtype=np.uint8)),
            ("masks", ids),
        ):
            path = root / kind / split / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


#: A run of a second.
TINY = (
    *(
        "device=cpu",
        "model.name=unet",
        "model.width=4",
        "model.depth=2",
        "augment.name=none",
        "train.iterations=1",
    ),
    *(
        "train.batch_size=2",
        "train.workers=0",
        "eval.every=1",
        "log.every=1",
        "log.dir=it's $here",
    ),
)


@pytest.mark.parametrize("name", ["-it's $HOME (1)", "a: b #c"])
def test_300_classes_from_a_folder_to_pictures_by_what_is_printed(
    name, tmp_path, monkeypatch, capsys, quick_plots
):
    monkeypatch.chdir(tmp_path)
    write_many_classes(Path(name), 300, unlabelled=65535)
    assert run_script("check_data", f"./{name}", "--workers", 0) == 0
    printed = capsys.readouterr().out
    assert "65535 means unknown" in printed and "\n  ignore_index: 65535\n" in printed
    [command] = [line for line in printed.splitlines() if line.startswith("next  ")]
    python, script, *words = shlex.split(command)[1:]
    assert (python, script) == ("python", "train.py")
    assert run_script("train", *words, *TINY) == 0
    [card] = Path("it's $here").glob(f"{glob.escape(name)}/*/README.md")
    commands = [
        shlex.split(line, comments=True)
        for line in card.read_text().splitlines()
        if line.startswith("python ")
    ]
    assert [words[1] for words in commands] == ["scripts/evaluate.py", "scripts/predict.py", "train.py"]
    assert run_script("evaluate", *commands[0][2:], "device=cpu") == 0
    assert "2 images" in capsys.readouterr().out
    assert (
        run_script("predict", *commands[1][2:4], "--source", f"./{name}/images/val", "--device", "cpu") == 0
    )
    with Image.open(card.parent / "predictions/3_ids.png") as ids:
        assert ids.mode == "I;16" and np.asarray(ids).shape == (72, 72)
