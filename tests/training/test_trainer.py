"""The loop: its clock, its order of events, and resuming, bit by bit."""

import copy
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segkit.distributed.ranks import Ranks
from segkit.errors import ConfigError, NotFiniteError
from segkit.models.parts import freeze
from segkit.training.plan import Plan
from segkit.training.trainer import Trainer
from tests.paths import ROOT

PLAN = Plan(
    iterations=6,
    evaluate_every=2,
    checkpoint_every=3,
    pictures_every=3,
    log_every=1,
    num_classes=3,
    ignore_index=255,
    seed=7,
)


class Net(nn.Module):
    """Has all that resuming must get right: BatchNorm's buffers, dropout's random numbers, an auxiliary head."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.3)
        )
        self.head, self.aux = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 3, 1)

    def forward(self, image):
        features = self.features(image)
        return {"out": self.head(features), "aux": self.aux(features)}


class Loss(nn.Module):
    """Plain cross-entropy times a factor that depends on the iteration, which it notes."""

    def __init__(self):
        super().__init__()
        self.iterations = []

    def forward(self, logits, target, weight=None, *, iteration):
        self.iterations.append(iteration)
        loss = F.cross_entropy(logits, target.long(), ignore_index=255) * (1 + 0.1 * iteration)
        return loss, {"ce": loss.detach()}


class Recorder:
    def __init__(self):
        self.events = []
        self.losses = []

    def update(self, iteration, values, batches, *, waited):
        self.events.append(("update", iteration))
        self.losses.append(float(values["loss"]))

    def flush(self):
        if self.losses and not torch.isfinite(torch.tensor(self.losses[-1])):
            raise NotFiniteError("the loss is not finite")

    def restart_clock(self): ...

    def untrained(self, result):
        self.untrained_images = result.images

    def evaluation(self, iteration, result, *, best):
        self.events.append(("evaluation", iteration, result.ce))

    def pictures(self, iteration, panels):
        self.events.append(("pictures", iteration))


def batch(number: int, size: int = 4) -> dict:
    generator = torch.Generator().manual_seed(number)
    image = torch.randint(0, 256, (size, 3, 8, 8), generator=generator, dtype=torch.uint8)
    target = (image[:, 0] // 86).clone()
    target[:, 0] = 255
    return {"image": image, "target": target, "name": [f"{number}-{n}" for n in range(size)]}


def make_trainer(plan: Plan = PLAN, **changes) -> tuple[Trainer, Recorder, dict]:
    torch.manual_seed(plan.seed)
    model = changes.pop("model", None) or Net()
    recorder, saved = Recorder(), {}

    def save(state, iteration, best):
        recorder.events.append(("best" if best else "save", iteration))
        if not best:
            saved[iteration] = copy.deepcopy(state)

    arguments = {
        "plan": plan,
        "model": model,
        "loss": Loss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9),
        "learning_rate": lambda iteration: 0.1 / (1 + iteration),
        "preprocess": lambda image: image.float() / 255 - 0.5,
        "train_batches": lambda first: (batch(n) for n in range(first, 1000)),
        "val_batches": [batch(5000), batch(5001), batch(5002)],
        "examples": [batch(5000, 2)],
        "device": torch.device("cpu"),
        "recorder": recorder,
        "save": save,
    }
    return Trainer(**{**arguments, **changes}), recorder, saved


def weights(trainer: Trainer) -> dict:
    return {name: tensor.clone() for name, tensor in trainer.evaluated_model.state_dict().items()}


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_clock_reads_0_to_T_minus_1_in_updates_and_labels_1_to_T_after():
    trainer, recorder, _ = make_trainer()
    assert trainer.fit() is True
    # Two calls per update: the main and the auxiliary head.
    assert trainer.loss.iterations == [n for n in range(6) for _ in range(2)]
    assert [event[1] for event in recorder.events if event[0] == "update"] == [1, 2, 3, 4, 5, 6]
    assert trainer.iteration == 6


def test_order_is_update_pictures_evaluate_save():
    """Pictures before the evaluation: another process draws them meanwhile, and the save waits for them."""
    trainer, recorder, _ = make_trainer()
    trainer.fit()
    kinds = [(event[0], event[1]) for event in recorder.events if event[0] != "best"]
    assert kinds == [
        ("update", 1),
        ("update", 2),
        ("evaluation", 2),
        ("update", 3),
        ("pictures", 3),
        ("save", 3),
        ("update", 4),
        ("evaluation", 4),
        ("update", 5),
        ("update", 6),
        ("pictures", 6),
        ("evaluation", 6),
        ("save", 6),
    ]


def test_the_clock_moves_on_one_line_after_the_update():
    lines = [
        (path.name, number, line)
        for path in (ROOT / "segkit").rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines())
        if re.search(r"\biteration\s*\+=", line)
    ]
    assert [name for name, _, _ in lines] == ["trainer.py"]
    previous = (ROOT / "segkit/training/trainer.py").read_text().splitlines()[lines[0][1] - 1]
    assert "self.update(" in previous


def test_accumulation_of_equal_batches_equals_one_batch_and_keeps_the_clock():
    """Without dropout and BatchNorm, two micro-batches of 4 with equally many valid pixels are one batch of 8."""

    def linear():
        torch.manual_seed(0)
        return nn.Conv2d(3, 3, 1)

    def whole(first):
        return (
            {key: torch.cat([batch(2 * n)[key], batch(2 * n + 1)[key]]) for key in ("image", "target")}
            | {"name": []}
            for n in range(first, 1000)
        )

    split, _, _ = make_trainer(replace(PLAN, accumulate=2), model=linear())
    joined, _, _ = make_trainer(model=linear(), train_batches=whole)
    split.fit(), joined.fit()
    assert split.loss.iterations == [n for n in range(6) for _ in range(2)]
    assert joined.iteration == split.iteration == 6
    for one, other in zip(split.model.parameters(), joined.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_validation_between_updates_leaves_training_bit_equal():
    often, recorder_often, _ = make_trainer(replace(PLAN, evaluate_every=1, pictures_every=1))
    never, recorder_never, _ = make_trainer(replace(PLAN, evaluate_every=0, pictures_every=0))
    often.fit(), never.fit()
    assert recorder_often.losses == recorder_never.losses
    assert equal(weights(often), weights(never))


OPTIONS = {
    "plain": PLAN,
    "ema, clipping, accumulation": replace(PLAN, ema_decay=0.9, clip_norm=0.5, accumulate=2),
    "bf16": replace(PLAN, amp_dtype=torch.bfloat16),
    "fp16 with loss scaling": replace(PLAN, amp_dtype=torch.float16),
}


@pytest.mark.parametrize("plan", OPTIONS.values(), ids=OPTIONS)
def test_resume_at_every_iteration_is_bit_equal(plan):
    plan = replace(plan, checkpoint_every=1)
    whole, recorder, saved = make_trainer(plan)
    whole.fit()
    assert len(set(recorder.losses)) == 6, "the losses must differ, or equality proves nothing"
    for iteration in range(1, 6):
        resumed, resumed_recorder, _ = make_trainer(plan)
        resumed.load_state_dict(saved[iteration])
        resumed.fit()
        assert resumed_recorder.losses == recorder.losses[iteration:], f"resumed at {iteration}"
        assert equal(weights(resumed), weights(whole)), f"resumed at {iteration}"
        evaluations = [
            event for event in recorder.events if event[0] == "evaluation" and event[1] > iteration
        ]
        assert [event for event in resumed_recorder.events if event[0] == "evaluation"] == evaluations
        assert resumed.best == whole.best


@pytest.mark.parametrize("before", [None, torch.bfloat16])
def test_a_run_goes_on_in_fp16_that_began_without_loss_scaling(before):
    """As one that moves from a CPU to a GPU without bf16 does."""
    began, _, saved = make_trainer(replace(PLAN, amp_dtype=before))
    began.fit()
    resumed, recorder, saved_later = make_trainer(replace(PLAN, amp_dtype=torch.float16))
    resumed.load_state_dict(saved[3])
    assert resumed.fit()
    assert len(recorder.losses) == 3
    assert saved_later[6]["scaler"]["scale"] > 1


def tamper_optimizer(state):
    for entry in state["optimizer"]["state"].values():
        entry["momentum_buffer"].zero_()


def tamper_ema(state):
    state["ema"] = {name: torch.zeros_like(value) for name, value in state["ema"].items()}


def tamper_buffers(state):
    state["model"]["features.1.running_mean"].zero_()


def tamper_scaler(state):
    state["scaler"]["scale"] = 1.0


def tamper_iteration(state):
    state["iteration"] += 1


@pytest.mark.parametrize(
    "tamper", [tamper_optimizer, tamper_ema, tamper_buffers, tamper_scaler, tamper_iteration]
)
def test_resume_differs_without_each_part_of_the_state(tamper):
    """Negative controls: the equality above would notice a missing part."""
    plan = replace(PLAN, checkpoint_every=1, ema_decay=0.9, amp_dtype=torch.float16)
    whole, recorder, saved = make_trainer(plan)
    whole.fit()
    state = copy.deepcopy(saved[3])
    tamper(state)
    resumed, resumed_recorder, _ = make_trainer(plan)
    resumed.load_state_dict(state)
    resumed.fit()
    same_scale = resumed.scaler.state_dict() == whole.scaler.state_dict()
    same = (
        resumed_recorder.losses == recorder.losses[3:]
        and equal(weights(resumed), weights(whole))
        and same_scale
    )
    assert not same


class Overflows(Loss):
    """In the iterations `at` gradients are beyond fp16 once they are scaled, and the update is to be skipped."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def forward(self, logits, target, weight=None, *, iteration):
        loss, values = super().forward(logits, target, weight, iteration=iteration)
        return loss * (float("inf") if iteration in self.at else 1.0), values


@pytest.fixture
def memory_as_it_comes(monkeypatch):
    """What torch's SGD does not write holds NaN."""
    monkeypatch.setattr(torch, "empty_like", lambda like, **_: torch.full_like(like, float("nan")))


@pytest.mark.parametrize("skipped", [(0,), (0, 1), (2,)], ids=str)
@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize(
    "options", [{}, {"nesterov": True, "weight_decay": 0.1}, {"dampening": 0.1}], ids=str
)
@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")),
    ],
)
@pytest.mark.usefixtures("memory_as_it_comes")
def test_an_update_that_is_skipped_leaves_no_trace_in_the_momentum(skipped, clip_norm, options, device):
    """torch's fused SGD makes its momentum in the first update, also where it then skips that."""
    plan = replace(PLAN, amp_dtype=torch.float16, clip_norm=clip_norm, evaluate_every=0)
    ended = []
    for fused in (True, False):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 3, 1).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, fused=fused, **options)
        changes = {"model": model, "optimizer": optimizer, "loss": Overflows(skipped)}
        trainer, _, _ = make_trainer(plan, **changes, device=torch.device(device))
        trainer.recorder.flush = lambda: None  # the loss of the updates that are skipped is infinite
        trainer.fit()
        ended.append(weights(trainer))
    for name, tensor in ended[1].items():
        torch.testing.assert_close(ended[0][name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("memory_as_it_comes")
def test_a_parameter_may_have_its_first_gradient_later_than_others():
    class Late(nn.Conv2d):
        """Its bias is of no use in the first two updates of a run, nor in those before `used` is set."""

        used = False

        def forward(self, image):
            return F.conv2d(image, self.weight, self.bias if self.used else None)

    def begin():
        torch.manual_seed(0)
        model = Late(3, 3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, fused=True)
        return make_trainer(model=model, optimizer=optimizer)[0]

    trainer = begin()
    before = trainer.model.bias.clone()
    trainer.update([batch(0)])
    state = copy.deepcopy(trainer.state_dict())
    # As a run of an older segkit has left it.
    state["optimizer"]["state"] = {
        number: kept for number, kept in state["optimizer"]["state"].items() if kept["momentum_buffer"].any()
    }
    resumed = begin()
    resumed.load_state_dict(state)
    for each in (trainer, resumed):
        assert torch.equal(each.model.bias, before)
        each.model.used = True
        each.update([batch(1)])
        assert torch.isfinite(each.model.bias).all() and not torch.equal(each.model.bias, before)
    assert torch.equal(trainer.model.bias, resumed.model.bias)


def test_random_numbers_of_an_update_depend_on_the_seed_and_the_iteration():
    """Negative control for dropout: another seed, same weights and data, other losses."""
    first, recorder_first, saved = make_trainer(replace(PLAN, checkpoint_every=1))
    first.fit()
    other, recorder_other, _ = make_trainer(replace(PLAN, seed=8))
    other.load_state_dict(saved[3])
    other.fit()
    assert recorder_other.losses != recorder_first.losses[3:]


def test_stop_saves_the_present_iteration_and_says_so():
    trainer, recorder, saved = make_trainer()
    trainer.stop = lambda: trainer.iteration >= 4
    assert trainer.fit() is False
    assert 4 in saved
    assert recorder.events[-1] == ("save", 4)


@pytest.mark.parametrize("last", [4, 6], ids=["in the middle", "at the end"])
def test_evaluation_missed_by_a_stop_is_made_up_on_resume(last):
    whole, recorder, _ = make_trainer()
    assert whole.fit()
    stopped, _, saved = make_trainer()
    stopped.stop = lambda: stopped.iteration >= last  # asked before the validation of that iteration
    assert not stopped.fit(), "a run without its last evaluation is not done"
    resumed, resumed_recorder, _ = make_trainer()
    resumed.load_state_dict(saved[last])
    assert resumed.fit()
    expected = [event for event in recorder.events if event[0] == "evaluation" and event[1] >= last]
    assert [event for event in resumed_recorder.events if event[0] == "evaluation"] == expected


class OneLate(Ranks):
    """Votes as several processes do: the answer is that of the call before."""

    owed = 0

    def vote(self, number):
        answer, self.owed = self.owed, number
        return answer


class Interrupted(list):
    """Validation batches between which a signal comes, once `is_time()`."""

    def __init__(self, batches, is_time):
        super().__init__(batches)
        self.is_time, self.signals = is_time, 0

    def __iter__(self):
        for each in super().__iter__():
            yield each
            self.signals += self.is_time()


def test_an_evaluation_that_was_stopped_in_several_processes_is_made_up_on_resume():
    """A vote that is known one late must not let another update come first: nobody could make it up then."""
    plan = replace(PLAN, evaluate_every=3, checkpoint_every=0)
    whole, recorder, _ = make_trainer(plan)
    assert whole.fit()
    stopped, stopped_recorder, saved = make_trainer(plan, ranks=OneLate())
    stopped.val_batches = Interrupted(stopped.val_batches, lambda: stopped.iteration == 3)
    stopped.stop = lambda: stopped.val_batches.signals
    assert not stopped.fit()
    resumed, resumed_recorder, _ = make_trainer(plan)
    resumed.load_state_dict(saved[max(saved)])
    assert resumed.fit()
    events = stopped_recorder.events + resumed_recorder.events
    assert [event for event in events if event[0] == "evaluation"] == [
        event for event in recorder.events if event[0] == "evaluation"
    ]


def test_loss_that_is_not_finite_is_never_saved():
    def poisoned(first):
        for number in range(first, 1000):
            yield batch(number)

    class Diverging(Loss):
        def forward(self, logits, target, weight=None, *, iteration):
            loss, values = super().forward(logits, target, weight, iteration=iteration)
            return (loss * float("nan"), values) if iteration == 3 else (loss, values)

    trainer, _, saved = make_trainer(
        replace(PLAN, checkpoint_every=1), loss=Diverging(), train_batches=poisoned
    )
    with pytest.raises(NotFiniteError):
        trainer.fit()
    assert max(saved) == 3
    assert all(torch.isfinite(value).all() for value in saved[3]["model"].values())


def test_poisoned_buffer_is_never_saved_even_if_the_loss_is_finite():
    trainer, _, saved = make_trainer()
    trainer.model.features[1].running_mean[0] = float("nan")
    with pytest.raises(
        NotFiniteError, match=r"'features.1.running_mean' of the model is not finite at iteration 3"
    ):
        trainer.fit()  # the validation of iteration 2 is not the best: its ce is not finite
    assert not saved


def test_broken_validation_set_fails_before_the_first_update():
    bad = batch(0)
    bad["target"] = bad["target"].clone()
    bad["target"][0, 1, 1] = 9
    trainer, recorder, _ = make_trainer(val_batches=[bad])
    with pytest.raises((IndexError, RuntimeError)):
        trainer.fit()
    assert recorder.events == []


def test_auxiliary_head_counts_with_its_weight():
    def first_loss(aux_weight):
        trainer, recorder, _ = make_trainer(replace(PLAN, aux_weight=aux_weight))
        trainer.fit()
        return recorder.losses[0], len(trainer.loss.iterations)

    (none, calls_none), (half, calls), (full, _) = first_loss(0.0), first_loss(0.5), first_loss(1.0)
    assert (calls_none, calls) == (6, 12)
    assert half > none
    assert full - none == pytest.approx(2 * (half - none), rel=1e-5)


class InForm(Net):
    """The same network, whose output is given in another form: made of its logits and auxiliary logits."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, image):
        output = super().forward(image)
        return self.form(output["out"], output["aux"])


@pytest.mark.parametrize(
    "form",
    [
        lambda out, aux: (out, aux),
        lambda out, aux: [out, [aux]],
        lambda out, aux: {"logits": out, "aux": aux},
        lambda out, aux: SimpleNamespace(logits=out, aux=[aux]),
    ],
    ids=["tuple", "list", "dict", "object"],
)
def test_every_form_of_output_trains_alike(form):
    def train(model):
        trainer, recorder, _ = make_trainer(model=model)
        trainer.fit()
        return recorder.losses, weights(trainer)

    torch.manual_seed(PLAN.seed)
    (losses, one), plain = train(InForm(form)), train(None)
    assert losses == plain[0] and equal(one, plain[1])


def test_several_auxiliary_heads_count_with_the_weight_each():
    def first_update(form):
        torch.manual_seed(PLAN.seed)
        trainer, _, _ = make_trainer(model=InForm(form))
        values = trainer.update([batch(0)])
        return float(values["loss"]), float(values["aux_loss"])

    (one, one_aux), (two, two_aux) = (
        first_update(form) for form in (lambda o, a: (o, a), lambda o, a: (o, a, a))
    )
    assert two_aux == pytest.approx(2 * one_aux)
    assert two - one == pytest.approx(PLAN.aux_weight * one_aux, rel=1e-5)


def test_output_that_is_not_understood_is_described():
    trainer, _, _ = make_trainer(model=InForm(lambda out, aux: {"seg": out}))
    with pytest.raises(
        ConfigError, match=r"^the model returned dict \{'seg': Tensor \(4, 3, 8, 8\)\}\n   -> "
    ):
        trainer.update([batch(0)])


class Returning(Loss):
    """A loss that returns `form` of its value."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, *arguments, **options):
        return self.form(super().forward(*arguments, **options)[0])


@pytest.mark.parametrize(
    ("form", "found"),
    [
        (lambda value: value, "the loss returned Tensor ()"),
        (lambda value: (value, {}, 1), "the loss returned tuple (Tensor (), dict {}, int)"),
        (lambda value: (value.item(), {}), "the value of the loss is float"),
        (lambda value: (value.expand(4, 8), {}), "the value of the loss is Tensor (4, 8)"),
        (lambda value: (value, {"a": value.detach().expand(4)}), "the loss tells 'a': Tensor (4,)"),
        (lambda value: (value, {"a": "word"}), "the loss tells 'a': str"),
        (lambda value: (value, {3: 1.0}), "the loss tells 3: float"),
    ],
)
def test_what_a_loss_returns_and_is_not_understood_is_described(form, found):
    trainer, _, _ = make_trainer(loss=Returning(form))
    with pytest.raises(ConfigError) as caught:
        trainer.update([batch(0)])
    assert str(caught.value) == (
        f"{found}\n   -> a loss returns (value, values to log): a scalar tensor, and a dict by name of numbers, or of "
        "tensors with one number or one per class (3); python scripts/check_loss.py NAME tells more"
    )


def test_a_loss_without_gradient_is_refused():
    trainer, _, _ = make_trainer(loss=Returning(lambda value: (value.detach(), {})))
    with pytest.raises(
        ConfigError, match=r"^the value of the loss has no gradient: it is not connected to the "
    ):
        trainer.update([batch(0)])


def test_a_loss_that_tells_a_loss_does_not_hide_the_one_that_is_minimised():
    def first_loss(form):
        trainer, _, _ = make_trainer(replace(PLAN, accumulate=2), loss=Returning(form))
        torch.manual_seed(0)
        return float(trainer.update([batch(0), batch(1)])["loss"])

    assert first_loss(lambda value: (value, {"loss": torch.tensor(-5.0)})) == first_loss(
        lambda value: (value, {})
    )


def test_moving_average_is_what_is_scored_and_shipped():
    trainer, _, _ = make_trainer(replace(PLAN, ema_decay=0.9))
    trainer.fit()
    shipped = trainer.best_state()["model"]
    assert shipped.keys() == trainer.model.state_dict().keys()
    assert not torch.equal(shipped["head.weight"], trainer.model.head.weight)


class Kept(Net):
    """Its encoder keeps in evaluation mode what it first gave."""

    def __init__(self):
        super().__init__()
        self.stem = Remembering(3, 3, 1, bias=False)

    def forward(self, image):
        return super().forward(self.stem(image))


class Remembering(nn.Conv2d):
    made = None

    def train(self, mode=True):
        self.made = None if mode else self.made
        return super().train(mode)

    def forward(self, image):
        self.made = self.weight.detach().clone() if self.made is None else self.made
        return F.conv2d(image, self.made)


@pytest.mark.parametrize("decay", [None, 0.5])
def test_a_resumed_run_does_not_compute_with_what_frozen_parts_made_before(decay):
    trainer, _, saved = make_trainer(replace(PLAN, ema_decay=decay), model=Kept())
    trainer.fit()
    model = Kept()
    freeze(model, ["stem"])
    model.eval()(torch.zeros(1, 3, 8, 8))
    resumed, _, _ = make_trainer(replace(PLAN, ema_decay=decay), model=model)
    resumed.load_state_dict(saved[6])
    image = batch(0)["image"]
    for mine, theirs in ((resumed.model, trainer.model), (resumed.evaluated_model, trainer.evaluated_model)):
        expected = trainer.forward(theirs.train().eval(), image)["out"]
        assert torch.equal(resumed.forward(mine.eval(), image)["out"], expected)


class ValidMean(nn.Module):
    """Cross-entropy over valid pixels that says what its mean is taken over."""

    def forward(self, logits, target, weight=None, *, iteration):
        loss = F.cross_entropy(logits, target.long(), ignore_index=255)
        return loss, {"ce": loss.detach()}

    def denominator(self, target, weight=None):
        return (target != 255).sum()


def test_accumulated_mean_over_valid_pixels_is_that_of_the_whole_batch():
    """With very different numbers of ignored pixels, where the mean of means is wrong."""

    def linear():
        torch.manual_seed(0)
        return nn.Conv2d(3, 3, 1)

    def uneven(number):
        part = batch(number)
        if number % 2:
            part["target"][:, 1:] = 255
            part["target"][0, 1, :3] = 1
        return part

    def whole(first):
        pairs = ((uneven(2 * n), uneven(2 * n + 1)) for n in range(first, 1000))
        return ({k: torch.cat([a[k], b[k]]) for k in ("image", "target")} | {"name": []} for a, b in pairs)

    def train(loss, **changes):
        trainer, recorder, _ = make_trainer(changes.pop("plan", PLAN), model=linear(), loss=loss, **changes)
        trainer.fit()
        return list(trainer.model.parameters()), recorder.losses

    accumulate = replace(PLAN, accumulate=2)
    parts = {"train_batches": lambda first: (uneven(n) for n in range(first, 1000))}
    joined, joined_losses = train(ValidMean(), train_batches=whole)
    split, split_losses = train(ValidMean(), plan=accumulate, **parts)
    for one, other in zip(joined, split, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert split_losses == pytest.approx(joined_losses, rel=1e-5)
    plain, _ = train(Loss(), plan=accumulate, **parts)  # a loss that does not say: the mean of means
    assert not torch.allclose(plain[0], joined[0], rtol=1e-3)


def test_accumulation_over_nothing_valid_is_zero_not_nan():
    class Zero(ValidMean):
        def forward(self, logits, target, weight=None, *, iteration):
            loss = (logits * 0).sum()
            return loss, {"ce": loss.detach()}

    def ignored(first):
        for n in range(first, 1000):
            part = batch(n)
            part["target"][:] = 255
            yield part

    trainer, recorder, _ = make_trainer(replace(PLAN, accumulate=2), loss=Zero(), train_batches=ignored)
    trainer.fit()
    assert recorder.losses == [0.0] * 6


class Selecting(Loss):
    """Says that it keeps every pixel."""

    def pixels(self, logits, target, weight=None, *, iteration):
        return SimpleNamespace(kept=torch.ones(target.shape))


def test_pictures_show_what_the_loss_keeps_and_other_panels_need_no_loss():
    shown = []
    trainer, recorder, _ = make_trainer(loss=Selecting())
    recorder.pictures = lambda iteration, panels: shown.extend(panels)
    trainer.fit()
    assert len(shown) == 4 and all(panel["kept"].all() for panel in shown)
    panels = trainer.panels([batch(1, 1), batch(2, 1)])
    assert [panel["name"] for panel in panels] == ["1-0", "2-0"]
    assert [panel["kept"] for panel in panels] == [None, None]


def test_panels_are_of_the_weights_that_are_evaluated():
    trainer, _, _ = make_trainer(replace(PLAN, ema_decay=0.5))
    trainer.fit()
    before = [panel["ce"].clone() for panel in trainer.panels([batch(1)])]
    with torch.no_grad():
        trainer.model.head.weight.zero_()
    assert all(map(torch.equal, before, (panel["ce"] for panel in trainer.panels([batch(1)]))))
    with torch.no_grad():
        trainer.ema.module.head.weight.zero_()
    assert not any(map(torch.equal, before, (panel["ce"] for panel in trainer.panels([batch(1)]))))


def test_no_two_updates_draw_alike_whatever_process_and_seed_they_are_of():
    seeds = [
        replace(PLAN, seed=seed).seed_of_update(iteration, rank=rank)
        for seed in range(10)
        for iteration in range(20)
        for rank in range(8)
    ]
    assert len({*seeds}) == len(seeds)
    assert replace(PLAN, seed=3).seed_of_update(5) == 3_000_000_026  # as in runs of before
    torch.manual_seed(replace(PLAN, seed=2**32 - 1).seed_of_update(10**9, rank=4000))
