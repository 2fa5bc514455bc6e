"""What people read when something inside a loss block is wrong, word for word: schedules, terms, parts."""

import pytest

from segkit.config.load import load_config
from segkit.registry import LOSSES

BASE = "loss: {name: ce}\ntrain: {iterations: 100}\n"
LISTED = "   there are: constant, cosine, linear, poly, step\n   (python train.py --list schedules)"


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (
            "{name: linear, form: 0.9, to: 0.6}",
            "unknown key 'loss.thresh.form', did you mean 'from'?\n"
            "   linear takes: from, to, start, end, final   (python train.py --list schedules)",
        ),
        (
            "{name: linear, from: 0.9, to: 0.6, powr: 2}",
            "unknown key 'loss.thresh.powr'\n"
            "   linear takes: from, to, start, end, final   (python train.py --list schedules)",
        ),
        ("{name: liner, from: 0.9, to: 0.6}", f"no schedule named 'liner', did you mean 'linear'?\n{LISTED}"),
        ("{from: 0.9, to: 0.6}", f"'loss.thresh.name' is missing\n{LISTED}"),
        (
            "{name: 3, from: 0.9}",
            "loss.thresh.name: expected a string, got 3\n   (python train.py --list schedules)",
        ),
        ("{name: linear, to: 0.6}", "'loss.thresh.from' is missing: linear needs a number in (0, 1]"),
        ("{name: linear, from: 0.6}", "'loss.thresh.to' is missing: linear needs a number in (0, 1]"),
        (
            "{name: constant, from: 0.9, to: 0.6}",
            "unknown key 'loss.thresh.to'\n   constant takes: from   (python train.py --list schedules)",
        ),
        ("{name: linear, from: 0.9, to: 1.6}", "loss.thresh.to: expected a number in (0, 1], got 1.6"),
        ("{name: linear, from: x, to: 0.6}", "loss.thresh.from: expected a number in (0, 1], got 'x'"),
        (
            "{name: linear, from: {name: linear}, to: 0.6}",
            "loss.thresh.from: expected a number in (0, 1], got {name: linear}",
        ),
        (
            "{name: linear, from: 0.9, to: 0.6, end: 110%}",
            "loss.thresh.end: expected a number of iterations or a share of the run such as 10%, got '110%'",
        ),
        ("{name: poly, from: 0.9, to: 0.6, power: 0}", "loss.thresh.power: expected a number > 0, got 0"),
        (
            "{name: linear, from: 0.9, to: 0.6, start: 50%, end: 10%}",
            "loss.thresh: start=50% is after end=10%; it must not be larger",
        ),
        (
            "{name: linear, from: 0.9, to: 0.6, start: 50, end: 10}",
            "loss.thresh: start=50 is after end=10; it must not be larger",
        ),
        (
            "{name: linear, from: 0.9, to: 0.6, progress: 3}",
            "'loss.thresh.progress' is set by segkit, remove it",
        ),
    ],
)
def test_messages_for_schedules(folder, way, message, mistake):
    text = f"loss: {{name: ohem_ce, thresh: {way}}}"
    folder(base=BASE, run=f"extends: base\n{text}\n")
    place, _, rest = mistake("run").partition(": ")
    first, _, hints = message.partition("\n")
    assert place.startswith("run.yaml:2:") and int(place.rpartition(":")[2]) >= 23
    assert rest == "\n".join(part for part in (first, f"      2 | {text}", hints) if part)


def test_times_of_different_kinds_are_compared_when_the_length_is_known(folder):
    folder(run=BASE.replace("ce", "ohem_ce, thresh: {name: linear, from: 0.9, to: 0.6, start: 50, end: 10%}"))
    assert load_config("run").loss.params["thresh"].params["start"] == 50


def test_the_place_of_a_wrong_order_is_that_of_start(folder, first_line):
    lines = ("loss:", "  name: ohem_ce", "  thresh:", "    name: linear", "    from: 1", "    to: 0.5")
    folder(run="\n".join([*lines, "    end: 3", "    start: 9", "train: {iterations: 9}", ""]))
    assert first_line("run") == "run.yaml:8:12: loss.thresh: start=9 is after end=3; it must not be larger"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "name: ohem_ce, allow_inactive: {name: linear, from: 0, to: 1}",
            "loss.allow_inactive: expected true or false, got {name: linear, from: 0, to: 1}\n"
            "   only a number can follow a schedule",
        ),
        (
            "name: ohem_ce, class_weights: {name: linear, from: 0, to: 1}",
            "loss.class_weights: expected a list of numbers >= 0, one of balanced, "
            "median_frequency or {effective_number: beta} with beta in (0, 1) or null, "
            "got {name: linear, from: 0, to: 1}\n"
            "   only a number can follow a schedule",
        ),
        (
            "name: bootstrapped_ce, end_warm: {name: step, from: 5, to: 1}",
            "loss.end_warm: expected a number of iterations or a share of the run such as 10%, got "
            "{name: step, from: 5, to: 1}\n"
            "   only a number can follow a schedule",
        ),
        (
            "name: ohem_ce, n_min: {name: linear, from: 1/4, to: 100}",
            "loss.n_min: from='1/4' and to=100 must both be counts, or both shares",
        ),
        (
            "name: pixel, criterion: ce",
            "loss.criterion: expected a block with a name, got 'ce'\n   -> criterion: {name: ce}",
        ),
        (
            "name: pixel, criterion: {name: bcr}",
            "no criterion named 'bcr', did you mean 'bce'?\n   there are: bce, border_relaxed_ce, ce, focal, "
            "generalized_ce, logit_adjusted_ce, margin_smoothing_ce,\n"
            "      poly_ce, spatial_smoothing_ce, symmetric_ce\n"
            "   (python train.py --list criteria)",
        ),
        (
            "name: pixel, selection: {name: top_k, K: 3}",
            "unknown key 'loss.selection.K', did you mean 'k'?\n"
            "   top_k takes: k   (python train.py --list selections)",
        ),
        (
            "name: pixel, selection: {name: top_k}",
            "'loss.selection.k' is missing: top_k needs an integer >= 1",
        ),
        (
            "name: pixel, criterion: {name: ce, num_classes: 3}",
            "'loss.criterion.num_classes' is set by segkit from the data, remove it",
        ),
        (
            "name: pixel, criterion: {name: focal, gamma: {name: linear, from: -1, to: 2}}",
            "loss.criterion.gamma.from: expected a number >= 0, got -1",
        ),
        ("name: sum", "'loss.terms' is missing: sum needs a list of loss blocks, such as [{name: ...}]"),
        ("name: sum, terms: []", "loss.terms: expected a list of loss blocks, such as [{name: ...}], got []"),
        (
            "name: sum, terms: ce",
            "loss.terms: expected a list of loss blocks, such as [{name: ...}], got 'ce'",
        ),
        (
            "name: sum, terms: [ce]",
            "loss.terms[0]: expected a block with a name, got 'ce'\n   -> {name: ce}",
        ),
        (
            "name: sum, terms: [{name: ce, weight: -1}]",
            "loss.terms[0].weight: expected a number >= 0, got -1",
        ),
        (
            "name: sum, terms: [{name: ce}, {name: ce, weight: {name: linear, from: 0, to: -1}}]",
            "loss.terms[1].weight.to: expected a number >= 0, got -1",
        ),
        (
            "name: sum, terms: [{name: ce, ignore_index: 1}]",
            "'loss.terms[0].ignore_index' is set by segkit from the data, remove it",
        ),
        (
            "name: sum, terms: [{name: sum, terms: [{name: ohm_ce}]}]",
            "no loss named 'ohm_ce', did you mean 'ohem_ce'?\n   there are: ce, ohem_ce\n"
            "   (python train.py --list losses)",
        ),
        (
            "name: sum, terms: [{name: sum, terms: [{name: top, weigth: 2}]}]",
            "no loss named 'top'; there are: ce, ohem_ce\n   (python train.py --list losses)",
        ),
        (
            "name: sum, terms: [{name: sum, terms: [{name: ce, weigth: 2}]}]",
            "unknown key 'loss.terms[0].terms[0].weigth', did you mean 'weight'?\n"
            "   ce takes: weight, class_weights, label_smoothing, scope, backend   (python train.py --list losses)",
        ),
        (
            "name: sum, terms: [{weight: 2}]",
            "'loss.terms[0].name' is missing\n   there are: ce, ohem_ce\n   (python train.py --list losses)",
        ),
    ],
)
def test_messages_for_nested_blocks(folder, options, message, mistake, monkeypatch):
    monkeypatch.setattr(LOSSES, "names", lambda: ["ce", "ohem_ce"])
    text = f"loss: {{{options}}}"
    folder(base=BASE, run=f"extends: base\n{text}\n")
    place, _, rest = mistake("run").partition(": ")
    first, _, hints = message.partition("\n")
    assert place.startswith("run.yaml:2:")
    line = text if len(text) <= 100 else text[:97] + "..."
    assert rest == "\n".join(part for part in (first, f"      2 | {line}", hints) if part)


def test_all_mistakes_inside_are_said_at_once(folder, mistakes):
    folder(
        run="loss:\n"
        "  name: sum\n"
        "  terms:\n"
        "    - {name: ohem_ce, thresh: {name: linear, from: 2, too: 1}, n_min: 0}\n"
        "    - {name: pixel, selection: {name: top, k: 3}, reduction: mean}\n"
        "    - {weight: -1}\n"
        "train: {iterations: 0}\n"
    )
    assert [problem.splitlines()[0] for problem in mistakes("run", "loss.terms.1.weight=x")] == [
        "run.yaml:4:52: loss.terms[0].thresh.from: expected a number in (0, 1], got 2",
        "run.yaml:4:55: unknown key 'loss.terms[0].thresh.too', did you mean 'to'?",
        "run.yaml:4:71: loss.terms[0].n_min: "
        "expected a count of at least 1, or a share in (0, 1] such as 1/16 or 5%, got 0",
        "run.yaml:5:39: no selection named 'top', did you mean 'top_k'?",
        "run.yaml:5:62: loss.terms[1].reduction: expected one of valid, selected, weights, recall, "
        "got 'mean'",
        "run.yaml:6:7: 'loss.terms[2].name' is missing",
        "run.yaml:7:21: train.iterations: expected an integer >= 1 or null, got 0",
        "command line: 'loss.terms.1.weight=x': loss.terms[1].weight: expected a number >= 0, got 'x'",
    ]


def test_mistakes_of_a_command_line_schedule(folder, mistakes):
    folder(run=BASE)
    override = "loss.label_smoothing={name: linear, from: 0.1, to: 2, strat: 3}"
    assert [problem.splitlines()[0] for problem in mistakes("run", override)] == [
        f"command line: '{override}': unknown key 'loss.label_smoothing.strat', did you mean 'start'?",
        f"command line: '{override}': loss.label_smoothing.to: expected a number in [0, 1), got 2",
    ]


def test_sums_in_sums_end_somewhere(folder, first_line):
    def nest(depth):
        return "{name: sum, terms: [" * depth + "{name: ce}" + "]}" * depth

    folder(
        run=f"loss: {nest(7)}\ntrain: {{iterations: 9}}\n",
        deep=f"loss: {nest(8)}\ntrain: {{iterations: 9}}\n",
    )
    assert load_config("run").loss.name == "sum"
    assert first_line("deep").endswith(": blocks are nested more than 8 deep")
