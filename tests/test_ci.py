"""What runs without anybody asking: the hooks before a commit and the workflow call what `make` calls."""

import re
import tomllib

import pytest
import yaml

from tests.paths import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"
#: Comments by which a checker leaves a line or a file alone.
HIDING = re.compile(r"#\s*(type|pyrefly|pyright|mypy)\s*:\s*ignore")


def recipes():
    """The lines of every target in the Makefile, with its simplest variables filled in."""
    text = (ROOT / "Makefile").read_text()
    variables = dict(re.findall(r"^(\w+) [:?]= (.*)$", text, re.MULTILINE))
    for _ in variables:  # one may be in another
        text = re.sub(r"\$\((\w+)\)", lambda found: variables.get(found[1], found[0]), text)
    targets = re.findall(r"^([\w.-]+):[^=\n]*\n((?:\t.*\n)*)", text, re.MULTILINE)
    return {name: [line.lstrip("\t@") for line in lines.splitlines()] for name, lines in targets}


def steps(job):
    """The commands of a job."""
    return [step["run"] for step in job["steps"] if "run" in step]


@pytest.fixture(scope="module")
def jobs():
    return yaml.safe_load(WORKFLOW.read_text())["jobs"]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_workflow_calls_targets_that_there_are(jobs):
    called = {
        word for job in jobs.values() for run in steps(job) for word in re.findall(r"\bmake (\w+)", run)
    }
    assert called == {"lint", "test"} and called <= recipes().keys()


def test_the_workflow_makes_the_folder_that_make_uses(jobs):
    for job in jobs.values():
        before = steps(job)[: [run.startswith("make") for run in steps(job)].index(True)]
        assert before[0] == "python -m venv .venv"
        assert all(run.startswith(".venv/bin/python ") for run in before[1:])
    assert all(".venv/bin/python" in line.split()[0] for line in recipes()["lint"])


def test_torch_and_torchvision_come_from_one_index_there_as_in_the_readme(jobs):
    command = "python -m pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu"
    assert command in (ROOT / "README.md").read_text()
    assert all(any(run.endswith(command) for run in steps(job)) for job in jobs.values())


def test_the_versions_of_python_are_those_of_the_package(jobs, project):
    tested = jobs["test"]["strategy"]["matrix"]["python-version"]
    classifiers = project["project"].get("classifiers", [])
    named = [found[1] for line in classifiers if (found := re.search(r":: Python :: (3\.\d+)$", line))]
    assert not named or tested == named
    oldest = min(tested, key=lambda version: int(version.split(".")[1]))
    assert project["project"]["requires-python"] == f">={oldest}"
    (setup,) = (step for step in jobs["lint"]["steps"] if "setup-python" in step.get("uses", ""))
    assert setup["with"]["python-version"] == oldest == project["tool"]["pyrefly"]["python-version"]
    assert project["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"


def test_the_workflow_may_read_and_no_more(jobs):
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert all("permissions" not in job for job in jobs.values())


def test_the_hooks_are_the_steps_of_make_lint():
    (repo,) = yaml.safe_load(HOOKS.read_text())["repos"]
    assert repo["repo"] == "local"
    entries = [hook["entry"] for hook in repo["hooks"]]
    expected = [line.removesuffix(" .") for line in recipes()["lint"]]
    assert [entry.replace(" --force-exclude", "") for entry in entries] == expected


def test_the_tools_of_make_lint_are_pinned():
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements-lint.txt").read_text().splitlines()]
    pinned = {line.partition("==")[0] for line in lines if line}
    assert all(re.fullmatch(r"[a-z-]+==\d+(\.\d+)+", line) for line in lines if line)
    assert pinned == {found[1] for line in recipes()["lint"] if (found := re.search(r" -m (\w+)", line))}


def test_the_package_is_marked_as_typed_and_hides_nothing_from_the_checker():
    assert (ROOT / "segkit" / "py.typed").read_text() == ""
    hidden = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "segkit").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if HIDING.search(line)
    ]
    assert not hidden, "say it with a type instead"
