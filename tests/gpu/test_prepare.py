"""What is collected for a machine without a network: wheels of all that is required but what comes with torch."""

import subprocess

import pytest

from scripts.gpu.prepare import PLATFORMS, THERE, WHOLE, download, parse, read_commit, split_requirements
from tests.paths import ROOT


def test_every_requirement_is_fetched_or_comes_with_torch():
    text = (ROOT / "requirements.txt").read_text()
    whole, single = split_requirements(text)
    fetched = {line.partition(">")[0] for line in [*whole, *single]}
    required = {line.partition(">")[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert required - set(THERE) <= fetched and not fetched & set(THERE)
    assert {"pydantic", "pytest"} <= set(WHOLE) <= fetched and "matplotlib>=3.10.8" in single


def test_wheels_for_another_python(tmp_path):
    words = download(["tqdm>=4"], "3.12", tmp_path, ("--no-deps",))
    assert words[1:4] == ["-m", "pip", "download"] and words[-3:] == ["--dest", str(tmp_path), "tqdm>=4"]
    assert words[words.index("--python-version") + 1] == "3.12" and "--no-deps" in words
    assert [words[n + 1] for n, word in enumerate(words) if word == "--platform"] == list(PLATFORMS)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--python", "3"], "--python 3: a version such as 3.12"),
        (["--camvid", "none"], "--camvid none: there is no folder images in it"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, reason, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2 and reason in capsys.readouterr().err


def test_the_commit_and_what_differs_from_it(tmp_path):
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD").strip()
    assert read_commit(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    (tmp_path / "b").write_text("1")
    assert read_commit(tmp_path) == f"{commit}, and 2 files that are not as committed"
    (tmp_path / "copy").mkdir()
    assert read_commit(tmp_path / "copy") is None, "the commit of another repository is not that of the copy"
