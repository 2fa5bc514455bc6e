"""The command line: what argparse would let pass."""

import pytest

from segkit.cli import ablate, evaluate, train
from segkit.cli.parser import CommandParser, as_given


def parser():
    made = CommandParser(prog="train.py")
    made.add_argument("overrides", nargs="*")
    made.add_argument("--config")
    made.add_argument("--limit", type=int, default=3)
    made.add_argument("--check", action="store_true")
    return made


def error_of(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        parser().parse_intermixed_args(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.partition("error: ")[2]


def test_options_once_are_taken_as_by_argparse():
    args = parser().parse_intermixed_args(["a=1", "--config", "x.yaml", "b=2", "--limit=3", "--check"])
    assert (args.overrides, args.config, args.limit, args.check) == (["a=1", "b=2"], "x.yaml", 3, True)
    args = parser().parse_intermixed_args(["--import", "a.py", "--import", "b.py"])
    assert (args.imports, args.limit, args.config) == (["a.py", "b.py"], 3, None)


def test_overrides_keep_the_order_of_the_command_line():
    typed = ["a=1", "--config", "x", "a=2", "b=3", "a=1"]
    assert as_given(["a=1", "a=1", "a=2", "b=3"], typed) == ["a=1", "a=2", "b=3", "a=1"]
    words = ["--config", "x", "a=1", "--devices", "cpu", "a=2", "a=1"]
    assert ablate.parse(words).overrides == ["a=1", "a=2", "a=1"]
    words = ["a=1", "--weights", "x", "a=2", "a=1"]
    assert evaluate.parse(words).overrides == ["a=1", "a=2", "a=1"]


def test_an_option_given_twice_is_refused(capsys):
    assert error_of(capsys, "--config", "a.yaml", "--config", "b.yaml") == (
        "argument --config: given twice, a.yaml and b.yaml; keep one\n"
    )
    assert error_of(capsys, "--limit=1", "x=1", "--limit=2").startswith("argument --limit: given twice")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--loss.thresh", "0.6"], "loss.thresh=VALUE"),
        (["--loss.thresh=0.6"], "loss.thresh=0.6"),
        (["--data.weight_map.sigma=2"], "data.weight_map.sigma=2"),
    ],
)
def test_dashes_before_a_configuration_key_are_explained(capsys, arguments, shown):
    text = error_of(capsys, "--config", "a.yaml", *arguments)
    assert text.endswith(f"\n   configuration keys are given without dashes -> {shown}\n")


def test_other_unknown_options_have_no_such_hint(capsys):
    assert error_of(capsys, "--tresh", "0.6") == "unrecognized arguments: --tresh\n"


def test_train_refuses_two_configurations(capsys):
    with pytest.raises(SystemExit):
        train.parse(["--config", "ce.yaml", "--config", "ohem.yaml"])
    assert "argument --config: given twice" in capsys.readouterr().err
