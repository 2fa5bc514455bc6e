"""What may follow `segkit evaluate`: several runs, overrides among them, and what does not go together."""

import pytest

from segkit.cli import evaluate


def error_of(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        evaluate.parse(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.partition("error: ")[2]


@pytest.mark.parametrize(
    ("arguments", "weights", "overrides"),
    [
        (["--weights", "runs/a"], ["runs/a"], []),
        (["--weights=runs/a", "data.root=x"], ["runs/a"], ["data.root=x"]),
        (["--weights", "runs/a", "data.root=x"], ["runs/a"], ["data.root=x"]),
        (["eval.batch_size=1", "--weights", "runs/lr=1/a"], ["runs/lr=1/a"], ["eval.batch_size=1"]),
        (["--weights", "lr=1", "b=2"], ["lr=1"], ["b=2"]),
        (["a=1", "--weights", "runs/a", "a=3", "b=2", "--per-image", "a=4"], ["runs/a"], ["a=1", "a=3", "b=2", "a=4"]),
        (["--per-image", "--weights", "a", "b", "runs/lr=1/c", "d=1"], ["a", "b", "runs/lr=1/c"], ["d=1"]),
    ],
)  # fmt: skip
def test_runs_and_overrides_are_told_apart(arguments, weights, overrides):
    args = evaluate.parse(arguments)
    assert (args.weights, args.overrides) == (weights, overrides)


def test_borders_of_every_image():
    args = evaluate.parse(["--weights", "a", "b", "--per-image", "--boundary", "2.5"])
    assert (args.weights, args.per_image, args.boundary) == (["a", "b"], True, 2.5)


@pytest.mark.parametrize(
    ("arguments", "objects", "overrides"),
    [
        ([], [], []),
        (["--objects", "cell"], ["cell"], []),
        (["--objects", "cell", "a cell=2", "data.root=x", "--min-size", "9"], ["cell", "a cell=2"], ["data.root=x"]),
        (["a=1", "--objects", "cell", "wall", "a=2", "--per-image", "a=3"], ["cell", "wall"], ["a=1", "a=2", "a=3"]),
    ],
)  # fmt: skip
def test_classes_of_objects_and_overrides_are_told_apart(arguments, objects, overrides):
    args = evaluate.parse(["--weights", "w", *arguments])
    assert (args.weights, args.objects, args.overrides) == (["w"], objects, overrides)
    assert args.min_size == (9 if "--min-size" in arguments else None)


def test_a_smallest_size_of_nothing(capsys):
    assert error_of(capsys, "--weights", "a", "--min-size", "9") == (
        "--min-size is of objects: say of which class with --objects CLASS, or leave it out\n"
    )


def test_several_runs_are_for_single_images(capsys):
    assert error_of(capsys, "--weights", "a", "b") == (
        "--weights: one run at a time, got 2; several only with --per-image\n"
    )


def test_one_file_of_scores_is_for_one_run(capsys):
    assert error_of(capsys, "--weights", "a", "b", "--per-image", "--output", "x.json") == (
        "--output is for the scores of one run, got 2; leave it out\n"
    )
    assert evaluate.parse(["--weights", "a", "--per-image", "--output", "x.json"]).output.name == "x.json"


def test_the_page_of_errors(capsys):
    args = evaluate.parse(
        ["data.root=x", "--weights", "a", "--report", "x.html", "--worst", "3", "--worst-by", "wrong"]
    )
    assert (args.report.name, args.worst, args.worst_by, args.overrides) == (
        "x.html",
        3,
        "wrong",
        ["data.root=x"],
    )
    assert error_of(capsys, "--weights", "a", "--report", "x.html", "--per-image") == (
        "--report is not made with --per-image; leave one of them out\n"
    )
    assert error_of(capsys, "--weights", "a", "--worst", "3") == (
        "--worst and --worst-by are of the page that --report writes\n"
    )


def test_no_run(capsys):
    assert error_of(capsys, "--weights").startswith("argument --weights: expected at least one argument")
