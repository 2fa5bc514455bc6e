"""`scripts/check_loss.py`: green for every registered loss, red for each planted one, by the check that is meant."""

import importlib.util
import re
import sys
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from segkit.commands import check_loss as checking
from segkit.commands.check_loss import check_loss, find_loss, make_subject, run_checks
from segkit.errors import ConfigError
from segkit.losses.checks.groups import GROUPS
from segkit.losses.checks.trial import Subject, make_trial
from segkit.registry import LOSSES
from tests.paths import ROOT
from tests.scripts import run_script

CPU = torch.device("cpu")

#: The parameters with which a registered loss is checked, where its name alone is no valid block.
PARAMETERS = {
    "logit_adjusted_ce": ["priors=[0.7, 0.2, 0.1]"],
    "pixel": ["criterion={name: focal}", "selection={name: top_share, share: 0.3}"],
    "sum": ["terms=[{name: ohem_ce, weight: 1.0, thresh: 0.6}, {name: dice, weight: 0.5}]"],
}

#: planted loss -> the checks that must fail, and no other; and a part of the first counterexample
PLANTED = {
    "wrong_counts_calls": ({"keeps_no_state"}, "a call changes calls from 1 to 2"),
    "wrong_default_iteration": ({"iteration_required"}, "iteration has the default 0"),
    "wrong_in_eval": ({"train_and_eval"}, "eval mode: "),
    "wrong_writes_target": ({"leaves_inputs"}, "was 255 and is 254 after the call"),
    "wrong_keeps_graph": ({"metrics_detached"}, "metric ce requires grad -> .detach()"),
    "wrong_report": ({"pixel_report"}, "pixels().kept is not 0 at an ignored pixel"),
    "wrong_volume": ({"other_shapes"}, "logits of shape (2, 5, 2, 2, 6): "),
    "wrong_map_of_ones": ({"ones", "zeros", "zero_is_out"}, "a map of ones: "),
    "wrong_gradient": ({"finite_differences", "finite_differences_low"}, "not the slope: gradient "),
    "wrong_deaf_backward": ({"follows_factor"}, "1024 x the value: gradient "),
    "wrong_log_of_softmax": ({"finite"}, "the value is inf for wrong logits of +-1000"),
    "wrong_ignored_in_mean": ({"not_counted", "one_easy_pixel"}, "90 % ignored: "),
    "wrong_nan_gradient": ({"ignored_nan"}, "NaN at ignored pixels: gradient nan instead of 0 at logits["),
    "wrong_always_255": ({"another_ignore_index"}, "raises "),
    "wrong_nan_when_empty": ({"no_valid_pixel"}, "the value is nan where every pixel is ignored"),
    "wrong_cut_off_when_empty": ({"no_valid_pixel"}, "the value is not connected to the logits"),
    "wrong_hides_nan": ({"nan_is_shown", "infinity_is_shown"}, "] = nan and the value is "),
    "wrong_resize": ({"low_resolution"}, "logits 2x2 for 8x8: "),
    "wrong_ties": ({"ties"}, "tied pixels in another order: gradient "),
    "wrong_position": ({"pixel_order", "ties"}, "pixels in another order: "),
    "wrong_image_order": ({"image_order"}, "images in another order: "),
    "wrong_uint8": ({"target_dtypes"}, "uint8 target: 0 instead of "),
    "wrong_int64_only": ({"target_dtypes"}, "raises "),
    "wrong_view": ({"strides"}, "raises RuntimeError at planted_losses.py:"),
    "wrong_memory_order": ({"strides"}, "channels_last logits: "),
    "wrong_autocast": ({"autocast"}, "autocast bf16: "),
    "wrong_half": ({"half_value", "half_gradient"}, "bf16 value off by "),
    "wrong_zero_map": ({"zeros"}, "the value is nan for a map of zeros"),
    "wrong_weight_at_ignored": ({"ignored_weight"}, "weights of 7 at ignored pixels: "),
    "wrong_remembers_latest": ({"pure_schedule"}, "after other iterations: "),
    "wrong_beyond_the_end": (
        {"pure_schedule", "extreme_iterations"},
        "raises ValueError at planted_losses.py:",
    ),
}  # fmt: skip

#: planted losses whose fault shows in many places -> checks that must be among those that fail
PLANTED_EVERYWHERE = {
    "wrong_counts_outside": {"repeated_calls"},
    "wrong_needs_gradient": {"without_gradient"},
    "wrong_flat": {"connected"},
    "wrong_mean_of_images": {"one_ignored_image", "no_valid_pixel"},
    "wrong_one_pixel": {"sizes", "one_easy_pixel"},
    "wrong_random": {"no_random_numbers", "repeated_calls"},
    "wrong_per_image": {"result"},
    "wrong_ignored_is_class_0": {"zero_gradient", "no_influence", "not_counted", "no_valid_pixel"},
    "wrong_empty_selection": {"one_easy_pixel", "overfitted"},
}


@pytest.fixture
def forgotten(monkeypatch):
    """The planted losses are not registered, and what a test imports and registers is gone after it."""
    before = dict(LOSSES._constructors)
    for name in [name for name in before if name.startswith("wrong_")]:
        del LOSSES._constructors[name]
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    LOSSES._constructors.clear()
    LOSSES._constructors.update(before)
    sys.modules.pop("planted_losses", None)


@pytest.fixture(scope="module")
def planted():
    """The module of the planted losses, registered for these tests only."""
    before = dict(LOSSES._constructors)
    spec = importlib.util.spec_from_file_location(
        "planted_losses", ROOT / "tests" / "losses" / "planted_losses.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    LOSSES._constructors.clear()
    LOSSES._constructors.update(before)


def subject_of(name: str, parameters=()) -> Subject:
    return make_subject(find_loss([name, *parameters]), CPU)


def fewer(subject: Subject) -> Subject:
    """Enough for a fault that is there for any number of classes and at any iteration."""
    first, *_, last = subject.iterations
    return replace(subject, class_counts=(subject.class_counts[-1],), iterations=(first, last))


def failures(subject: Subject) -> dict[str, str]:
    return {outcome.check: outcome.text for outcome in run_checks(subject) if outcome.holds is False}


#: Checked at every run of the tests; the others take seconds each and change seldom.
EVERYDAY = ("bootstrapped_ce", "dice", "ohem_ce")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in EVERYDAY else pytest.mark.heavy)
        for name in LOSSES.names()
        if not name.startswith("wrong_")
    ],
)
def test_every_registered_loss_is_green(name):
    subject = subject_of(name, PARAMETERS.get(name, ()))
    first, middle, last = subject.iterations
    # In the middle only the one that is another loss there: that the others do not move is a check of its own.
    iterations = (first, middle, last) if name == "bootstrapped_ce" else (first, last)
    assert failures(replace(subject, class_counts=subject.class_counts[:2], iterations=iterations)) == {}


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("ce", ["class_weights=[1, 2, 0.5, 3]", "label_smoothing=0.1"]),
        ("weighted_mask_ce", ["normalize=weights"]),
        ("ohem_ce", ["thresh=0.2", "n_min=3"]),
        ("rmi", ["pool=1", "radius=2"]),
        ("unified_focal", ["symmetric=true", "background=[1]"]),
        ("jaccard", ["form=metric"]),
        ("bootstrapped_ce", ["top_p=0.3", "start_warm=10%", "end_warm=10%"]),
        ("ohem_ce", ["thresh={name: linear, from: 0.9, to: 0.5, end: 50%}", "n_min=1"]),
    ],
)
@pytest.mark.heavy
def test_registered_losses_are_green_with_other_parameters(name, parameters):
    assert failures(fewer(subject_of(name, parameters))) == {}


def test_the_loss_that_the_planted_ones_start_from_is_green(planted):
    assert failures(Subject(planted.Right, (2, 3), (0, 99))) == {}


def test_every_planted_loss_is_expected_here(planted):
    names = {name for name in LOSSES.names() if name.startswith("wrong_")}
    assert names == PLANTED.keys() | PLANTED_EVERYWHERE.keys()


@pytest.mark.parametrize("name", PLANTED)
def test_planted_loss_is_red_by_the_right_check(planted, name):
    checks, text = PLANTED[name]
    found = failures(fewer(subject_of(name)))
    assert found.keys() == checks, found
    assert text in next(iter(found.values()))


@pytest.mark.parametrize("name", PLANTED_EVERYWHERE)
def test_planted_loss_is_red_in_many_places(planted, name):
    found = failures(fewer(subject_of(name)))
    assert found.keys() >= PLANTED_EVERYWHERE[name], found


# ----------------------------------------------------------------------------------------- the command and its table


def test_table(capsys):
    assert check_loss(["weighted_mask_ce", "normalize=weights"]) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[0].startswith("weighted_mask_ce  {normalize: weights")
    assert lines[1] == "for 2, 3 and 5 classes, at iterations 0, 50,000 and 99,999, on cpu"
    assert max(map(len, lines)) <= 100
    assert [line for line in lines if line in GROUPS] == list(GROUPS)
    assert "  holds  Gradient at ignored pixels is exactly 0" in lines
    place = lines.index("  -      A weight map of ones is no weight map")
    assert (
        lines[place + 1] == " " * 11 + "not applicable: it needs a weight map, so there is no value without"
    )
    assert re.fullmatch(
        r"speed  \d+\.\d x F\.cross_entropy, .* ms for 2 x 5 x 256 x 256; for information only", lines[-2]
    )
    total = sum(len(checks) for checks in GROUPS.values())
    assert (
        lines[-1] == f"weighted_mask_ce: all that apply hold ({total - 1} of {total - 1}; 1 not applicable)"
    )


def test_a_backend_without_fp64_is_not_checked_in_fp64(capsys):
    subject = make_subject(find_loss(["ce", "backend=numba"]), CPU)
    found = {outcome.check: outcome for outcome in run_checks(fewer(subject))}
    for name in ("finite_differences", "finite_differences_low"):
        assert found[name].holds is None
        assert found[name].text == (
            "it takes no fp64 logits (backend: numba, but it takes fp32, bf16 or fp16 logits, got torch.float64 "
            "-> backend: auto)"
        )
    assert [name for name, outcome in found.items() if outcome.holds is False] == []


def test_table_of_a_wrong_loss(planted, capsys):
    assert check_loss(["wrong_gradient"]) == 1
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("  FAILS  Gradient equals finite differences (fp64), at full size")
    example = " ".join(line.strip() for line in lines[place + 1 : place + 3])
    assert re.fullmatch(
        r"not the slope: gradient \S+ instead of \S+ at logits\[0, 0, 0, 0\] "
        r"\(2 classes, 2x3x3 fp64, iteration 0\)",
        example,
    )
    assert max(map(len, lines)) <= 100
    assert lines[-1].startswith("wrong_gradient: 2 do not hold (")


def test_command_with_user_code(forgotten, capsys):
    arguments = ("wrong_keeps_graph", "--import", ROOT / "tests" / "losses" / "planted_losses.py")
    assert run_script("check_loss", *arguments) == 1
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "metric ce requires grad -> .detach() (2 classes, 2x5x7 fp32, iteration 0)" in printed.out
    assert printed.out.splitlines()[-1].startswith("wrong_keeps_graph: 1 does not hold (")


def test_configuration(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(checking, "run_checks", lambda subject: seen.append(subject) or iter(()))
    monkeypatch.setattr(checking, "measure_speed", lambda subject: "")
    path = tmp_path / "mine.yaml"
    path.write_text(
        "data: {name: shapes}\nloss: {name: bootstrapped_ce, start_warm: 10%, end_warm: 50%, top_p: 0.2}\n"
        "train: {iterations: 400}\n"
    )
    assert check_loss(["loss.top_p=0.4"], config=str(path)) == 0
    assert seen[0].iterations == (0, 200, 399)
    loss = seen[0].build(3)
    trial = make_trial(loss, 3, 399)
    assert float(trial.run().metrics["keep_share"]) == 0.4
    assert float(trial.changed(iteration=39).run().metrics["keep_share"]) == 1.0


def test_only_class_counts_that_fit_are_checked():
    assert subject_of("ce").class_counts == (2, 3, 5)
    assert subject_of("ce", ["class_weights=[1, 2, 3, 4, 5, 6, 7]"]).class_counts == (7,)
    assert subject_of("bce").class_counts == (2,)


def usage_error(words, **options) -> str:
    with pytest.raises(ConfigError) as error:
        check_loss(words, **options)
    return str(error.value)


def test_usage_errors():
    assert usage_error(["thresh=0.6"]) == (
        "which loss? -> python scripts/check_loss.py ohem_ce thresh=0.6, or --config ohem.yaml"
    )
    assert "no loss named 'ohem_c', did you mean 'ohem_ce'?" in usage_error(["ohem_c"])
    assert "unknown key 'loss.thres', did you mean 'thresh'?" in usage_error(["ohem_ce", "thres=0.6"])
    assert "loss.thresh" in usage_error(["ohem_ce", "thresh=7"])
    assert "no_such_file" in usage_error([], config="no_such_file.yaml")
    assert usage_error(["ohem_ce"], config="ce.yaml") == (
        "--config ce.yaml has a loss of its own, and 'ohem_ce' is another\n"
        "   -> python scripts/check_loss.py ohem_ce, or python scripts/check_loss.py --config ce.yaml "
        "loss.name=ohem_ce"
    )


def test_a_key_may_be_written_as_messages_write_it():
    assert find_loss(["ohem_ce", "loss.thresh=0.6"]) == find_loss(["ohem_ce", "thresh=0.6"])


# -------------------------------------------------------------------------------------------------- the checks' parts


def test_a_loss_can_say_what_it_does_not_promise(planted):
    class Honest(planted.Position):
        unpromised: ClassVar = {"pixel_order": "it counts every other pixel half", "ties": "likewise"}

    outcomes = {o.check: o for o in run_checks(Subject(Honest, (3,), (0,)))}
    assert [o.check for o in outcomes.values() if o.holds is False] == []
    assert (outcomes["ties"].holds, outcomes["ties"].text) == (None, "likewise")


def test_what_a_loss_refuses_is_not_applicable(planted):
    class Strict(planted.Right):
        def __init__(self, num_classes):
            super().__init__(num_classes, 255)

        def forward(self, logits, target, weight=None, *, iteration):
            if weight is not None or logits.shape[2:] != target.shape[1:] or logits.ndim != 4:
                raise ValueError("images only, of the target's size, without a map")
            return super().forward(logits, target, iteration=iteration)

    subject = Subject(
        lambda num_classes, ignore_index: Strict(num_classes), (3,), (0,), takes_ignore_index=False
    )
    outcomes = list(run_checks(subject))
    assert [o for o in outcomes if o.holds is False] == []
    assert {o.check: o.text for o in outcomes if o.holds is None} == {
        "pixel_report": "it has no pixels()",
        "another_ignore_index": "its constructor takes no ignore_index",
        "low_resolution": "it takes no logits of another size than the target (ValueError)",
        "finite_differences_low": "it takes no logits of another size than the target (ValueError)",
        "other_shapes": "it takes images only",
        **dict.fromkeys(
            ("ones", "zeros", "zero_is_out", "ignored_weight"), "it takes no weight map (ValueError)"
        ),
    }


def test_a_loss_that_computes_in_fp32_only(planted):
    class Single(planted.Right):
        def convert(self, logits):
            return logits.float()

    class SingleWrong(planted.WrongGradient):
        def convert(self, logits):
            return logits.float()

    assert failures(Subject(Single, (2, 3), (0,))) == {}
    found = failures(Subject(SingleWrong, (2, 3), (0,)))
    assert found.keys() == {"finite_differences", "finite_differences_low"}


def test_a_loss_gets_the_maps_that_it_asks_for(planted):
    """As the loader makes them: of each image, before the loss is called."""

    class Mapped(planted.Right):
        label_maps: ClassVar = {"ones": lambda labels: torch.ones(labels.shape)}

        def forward(self, logits, target, weight=None, *, iteration, maps):
            assert maps["ones"].shape == target.shape
            return super().forward(logits, target, weight, iteration=iteration)

    assert failures(Subject(Mapped, (2, 3), (0,))) == {}


def test_a_value_without_gradient_is_a_finding_and_its_speed_is_not_measured(planted):
    class Counted(planted.Right):
        def reduce(self, ce, valid, weight, iteration):
            return ce.detach().sum()

    subject = Subject(Counted, (3,), (0,))
    assert "connected" in failures(subject)
    assert checking.measure_speed(subject).startswith(
        "not measured: the value is not connected to the logits"
    )


@pytest.mark.parametrize(
    ("returned", "shown"),
    [(lambda value: value, "Tensor"), (lambda value: (float(value), {}), "(float, dict)")],
)
def test_another_form_of_result_is_shown(planted, returned, shown):
    class Other(planted.Right):
        def forward(self, *arguments, **options):
            return returned(super().forward(*arguments, **options)[0])

    text = failures(Subject(Other, (3,), (0,)))["connected"]
    assert text.startswith(f"returns {shown}, not (scalar tensor, metrics) (3 classes")


def test_an_exception_of_the_loss_is_a_finding_with_its_line(planted):
    class Broken(planted.Right):
        def reduce(self, ce, valid, weight, iteration):
            raise KeyError("missing")

    subject = Subject(Broken, (3,), (0,))
    outcomes = list(run_checks(subject))
    assert [o.check for o in outcomes if o.holds] == ["iteration_required"]
    line = Broken.reduce.__code__.co_firstlineno + 1
    text = f"raises KeyError at test_check_loss.py:{line}: 'missing' (3 classes, 2x5x7 fp32, iteration 0)"
    assert outcomes[0].text == text
    assert checking.measure_speed(subject).startswith("not measured: raises KeyError")


def test_a_bug_of_a_check_is_no_finding():
    def check(subject):
        """Never."""
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        checking.run_check(check, Subject(lambda **given: nn.Identity(), (3,), (0,)))


def test_every_check_has_a_name_and_a_promise_of_its_own():
    checks = [check for group in GROUPS.values() for check in group]
    assert len({check.__name__ for check in checks}) == len(checks)
    assert len({checking.promise_of(check) for check in checks}) == len(checks)
    assert all(len(checking.promise_of(check)) <= 88 for check in checks)


def test_every_check_can_fail():
    expected = (*(checks for checks, _ in PLANTED.values()), *PLANTED_EVERYWHERE.values())
    assert set().union(*expected) == {check.__name__ for group in GROUPS.values() for check in group}
