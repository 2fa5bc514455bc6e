"""The training loop, readable top to bottom. It knows no model, loss or dataset by name.

`Trainer.iteration` counts completed optimiser updates and is the only state that is not a tensor: learning
rate, loss schedules, data order, augmentation and the random numbers of an update are functions of it. The
order within an iteration is update, count, show examples, evaluate, save.

In several processes each has its part of every batch and all of the model; what one of them decides (to stop, that a
loss is not finite), all decide, in the same iteration.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from segkit.distributed.ranks import ALONE, Ranks
from segkit.distributed.shard import ShardedModel, whole_tensor
from segkit.evaluation.evaluate import Evaluation, evaluate
from segkit.evaluation.model_output import split_output
from segkit.evaluation.panels import Panel, example_panels
from segkit.schedule import due
from segkit.system.device import Wait, weights_cast_once
from segkit.system.host_copy import DeviceCopies
from segkit.training.micro_batches import join_values, shares, times
from segkit.training.optimizer_state import fit_state, start_momentum
from segkit.training.parallel import require_all_gradients
from segkit.training.plan import Batch, CountedBatches, Plan, RecorderLike, split_returned
from segkit.training.weights import MovingAverage, require_finite_weights, weights_replaced


class Trainer:
    """Trains a model with one loss, iteration by iteration.

    `train_batches(first)` yields the run's micro-batches from number `first` on (`accumulate` of them make an
    update); `val_batches` and `examples` (few images, shown as pictures) can be walked many times.
    `preprocess` turns uint8 images on the device into what the model expects. `save(state, iteration, best)`
    writes a checkpoint. `stop()`, 0 to go on, is asked between updates and between validation batches. With several
    `ranks`, `parallel` is the model in a wrapper that averages gradients over them; if that is
    a ShardedModel, `optimizer` is of its parameters.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        model: nn.Module,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        learning_rate: Callable[[int], float],
        preprocess: Callable[[Tensor], Tensor],
        train_batches: Callable[[int], Iterable[Batch]],
        val_batches: CountedBatches,
        examples: Iterable[Batch],
        device: torch.device,
        recorder: RecorderLike,
        save: Callable[[dict[str, Any], int, bool], None],
        stop: Callable[[], int] = lambda: 0,
        ranks: Ranks = ALONE,
        parallel: nn.Module | None = None,
    ):
        self.ranks, self.parallel = ranks, model if parallel is None else parallel
        self.sharded = parallel if isinstance(parallel, ShardedModel) else None
        self.plan, self.model, self.loss, self.optimizer = plan, model, loss, optimizer
        self.learning_rate, self.preprocess, self.device = learning_rate, preprocess, device
        self.copies = DeviceCopies(device)
        self.train_batches, self.val_batches, self.examples = train_batches, val_batches, examples
        self.recorder, self.save_checkpoint, self.stop = recorder, save, stop
        # fp16 gradients underflow without loss scaling; for bf16 and fp32 the scaler is a neutral object.
        self.scaler = torch.amp.GradScaler(device.type, enabled=plan.amp_dtype == torch.float16)
        start_momentum(optimizer)
        self.ema = None
        if plan.ema_decay is not None:
            self.ema = MovingAverage(model, plan.ema_decay)
        self.iteration = 0
        self.best = {"mean_iou": -1.0, "iteration": 0}
        # The moment of the weights in best.pt: another one only where they were lost.
        self.kept = dict(self.best)
        self.evaluated = self.saved = -1
        # From the optimizer's step until the iteration is counted the state is of neither.
        self.stepping = False

    def fit(self) -> bool:
        """Train to the end of the plan. Returns False if `stop()` ended the run before its last evaluation; either way
        the last update is saved. Raises NotFiniteError, without saving, if the loss or a weight is not finite."""
        # A broken validation set fails now, not after the first epoch.
        first_look = self.evaluate_model(limit=2)
        if first_look is not None and self.iteration == 0:
            self.recorder.untrained(first_look)
        self.recorder.restart_clock()
        if self.lacks_evaluation:
            self.evaluate_and_keep_best()  # the run was stopped between an update and its evaluation
        batches = iter(self.train_batches(self.iteration * self.plan.accumulate))
        # An evaluation that was stopped is made up before any other update, also where a vote is known one late.
        while (
            self.iteration < self.plan.iterations
            and not self.lacks_evaluation
            and not self.ranks.vote(self.stop())
        ):
            micro_batches, waited = self.fetch(batches)
            values = self.update(micro_batches)
            self.iteration += 1
            self.stepping = False
            self.recorder.update(self.iteration, values, micro_batches, waited=waited)
            if self.due(self.plan.pictures_every):  # drawn while the model is evaluated, and so before a save
                self.recorder.flush()  # the time that pictures take is not training time
                self.recorder.pictures(self.iteration, self.panels(self.examples, loss=self.loss))
            if self.due(self.plan.evaluate_every):
                self.evaluate_and_keep_best()
            if self.due(self.plan.checkpoint_every):
                self.save()
        self.ranks.end_vote()
        if self.saved != self.iteration:
            self.save()
        if self.sharded is not None:
            self.sharded.gather()  # what the main process still shows, it computes alone
        # A stop between the last update and its evaluation ends the run early too: it is made up on resuming.
        return self.iteration >= self.plan.iterations and not self.lacks_evaluation

    @property
    def lacks_evaluation(self) -> bool:
        """Whether the weights are to be evaluated at this iteration and have not been."""
        return self.iteration > 0 and self.evaluated != self.iteration and self.due(self.plan.evaluate_every)

    def due(self, every: int) -> bool:
        return due(self.iteration, every, total=self.plan.iterations)

    def fetch(self, batches: Iterator[Batch]) -> tuple[list[Batch], Wait]:
        """The micro-batches of one update, on the device, and how long it waited for them."""
        waited = Wait(self.device)
        fetched: list[Batch] = [self.copies.copy(next(batches)) for _ in range(self.plan.accumulate)]
        waited.end()
        return fetched, waited

    def update(self, micro_batches: list[Batch]) -> dict[str, Any]:
        """One optimiser step on the mean loss of the micro-batches. Returns detached values, unread."""
        # Dropout and the like are a function of (seed, iteration): nothing random needs to be stored to resume.
        torch.manual_seed(self.plan.seed_of_update(self.iteration, rank=self.ranks.rank))
        rate = self.learning_rate(self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        self.parallel.train()
        told, parts = [], shares(self.loss, micro_batches)
        for n, (batch, share) in enumerate(zip(micro_batches, parts, strict=True), start=1):
            with self.own_gradients() if n < len(micro_batches) else nullcontext():
                loss, values = self.total_loss(batch, share)
                self.scaler.scale(loss).backward()
            told.append(values)
        collected = join_values(told, parts, [batch["target"].numel() for batch in micro_batches])
        if self.parallel is not self.model and not self.plan.find_unused:
            require_all_gradients(self.model)
        values = {**collected, "lr": rate}
        if self.plan.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip_norm)
            values["grad_norm"] = whole_tensor(norm)
        if self.scaler.is_enabled():
            # As a tensor: get_scale() would wait for the device.
            values["grad_scale"] = self.scaler.scale(torch.ones((), device=self.device))
        self.stepping = True
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        return values

    def own_gradients(self) -> AbstractContextManager:
        """Within, backward adds to this process's gradients; they are averaged with the last of the micro-batches."""
        no_sync: Any = getattr(self.parallel, "no_sync", nullcontext)
        return no_sync()

    def total_loss(self, batch: Batch, share: Any = 1.0) -> tuple[Tensor, dict[str, Any]]:
        """The loss of a micro-batch, auxiliary heads included, by its share of the update, and the values to log."""
        output = split_output(self.forward(self.parallel, batch["image"]))
        loss, values = self.call_loss(output.logits, batch, share)
        if output.auxiliary and self.plan.aux_weight:
            calls = (self.call_loss(each, batch, share) for each in output.auxiliary)
            aux = torch.stack([value for value, _ in calls]).sum()
            values = {**values, "aux_loss": times(aux.detach(), share)}
            loss = loss + self.plan.aux_weight * aux
        loss = times(loss, share)
        # A loss may tell a `loss` too, which knows nothing of shares and auxiliary heads.
        return loss, {"loss": loss.detach(), **values} | {"loss": loss.detach()}

    def call_loss(self, logits: Tensor, batch: Batch, share: Any = 1.0) -> tuple[Tensor, dict[str, Any]]:
        """The loss of these logits, with what it had made of the labels while they were loaded, and with the shares of
        its terms if it has such."""
        wanted: Any = getattr(self.loss, "label_maps", {})
        maps = {name: batch[name] for name in wanted if name in batch}
        more: dict[str, Any] = {"maps": maps} if maps else {}
        if isinstance(share, tuple):
            more["shares"] = share
        returned = self.loss(logits, batch["target"], batch.get("weight"), iteration=self.iteration, **more)
        return split_returned(returned, self.plan.num_classes)

    def forward(self, model: nn.Module, image: Tensor) -> Any:
        """Output of `model` for uint8 images (N, C, H, W) on the device, under the run's precision."""
        with self.autocast():
            return model(self.preprocess(image))

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(
            self.device.type, dtype=self.plan.amp_dtype, enabled=self.plan.amp_dtype is not None
        )

    @property
    def evaluated_model(self) -> nn.Module:
        """What is validated and shipped: the moving average where there is one, else the model."""
        return self.model if self.ema is None else self.ema.module

    def evaluate_model(self, *, limit: int | None = None) -> Evaluation | None:
        """Score on the validation set (or its first `limit` batches); None if the run was stopped meanwhile."""
        model = self.evaluated_model
        self.settle_buffers()
        with self.gathered():  # the processes have different numbers of batches
            return evaluate(
                lambda image: self.forward(model, image),
                model,
                self.val_batches,
                num_classes=self.plan.num_classes,
                ignore_index=self.plan.ignore_index,
                device=self.device,
                limit=limit,
                stop=lambda: bool(self.stop()),
                calibration=self.plan.calibration,
                views=self.plan.views,
                ranks=self.ranks,
            )

    def gathered(self) -> AbstractContextManager:
        """Within, the model runs in each process by itself."""
        return nullcontext() if self.sharded is None else self.sharded.gathered()

    def settle_buffers(self) -> None:
        """Running statistics are of what a process has seen; those of the main one are evaluated and saved."""
        for module in (self.model, self.ema):
            if module is not None:
                self.ranks.broadcast(module.buffers())

    def evaluate_and_keep_best(self) -> None:
        self.recorder.flush()  # finds a loss that is not finite before its weights are scored
        result = self.evaluate_model()
        if result is None:
            return
        self.evaluated = self.iteration
        score = result.mean_iou
        moment = {"mean_iou": score, "iteration": self.iteration}
        best = score > self.best["mean_iou"] and math.isfinite(result.ce)
        keep = score > self.kept["mean_iou"] and math.isfinite(result.ce)
        if best:
            self.best = dict(moment)
        self.recorder.evaluation(self.iteration, result, best=best)
        if keep:
            self.kept = moment
            self.save(best=True)

    def panels(self, batches: Iterable[Batch], *, loss: nn.Module | None = None) -> list[Panel]:
        """What the network, and the loss if one is given, make of these images at this iteration."""
        model = self.evaluated_model
        with self.gathered(), weights_cast_once(self.device):
            return example_panels(
                lambda image: self.forward(model, image),
                model,
                loss,
                map(self.copies.copy, batches),
                iteration=self.iteration,
                ignore_index=self.plan.ignore_index,
                views=self.plan.views,
            )

    def save(self, *, best: bool = False) -> None:
        """Write a checkpoint of the present iteration; never one whose loss or weights are not finite."""
        self.recorder.flush()
        self.settle_buffers()
        state = self.best_state() if best else self.state_dict()
        require_finite_weights(state["model"], self.iteration)
        self.save_checkpoint(state, self.iteration, best)
        if not best:
            self.saved = self.iteration

    def best_state(self) -> dict[str, Any]:
        """The weights that were scored, for evaluating and predicting."""
        return self.joined({**self.kept, "model": self.evaluated_model.state_dict()})

    def state_dict(self) -> dict[str, Any]:
        """Everything that resuming needs: plain types and tensors only."""
        return self.joined(
            {
                "iteration": self.iteration,
                "evaluated": self.evaluated,
                "seed": self.plan.seed,
                "best": dict(self.best),
                "kept": dict(self.kept),
                "model": self.model.state_dict(),
                "ema": None if self.ema is None else self.ema.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "loss": self.loss.state_dict(),
            }
        )

    def joined(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state as it is in a checkpoint, which does not depend on how the model was spread over processes. In a
        sharded run only the main process has its tensors."""
        return state if self.sharded is None else self.sharded.join(state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, as if the run had never stopped."""
        if self.sharded is not None:
            state = self.sharded.distribute(state, self.optimizer)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(fit_state(state["optimizer"], self.optimizer))
        start_momentum(self.optimizer)
        if state["scaler"]:  # else fp16 begins here, with the scale that every run begins with
            self.scaler.load_state_dict(state["scaler"])
        self.loss.load_state_dict(state["loss"])
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict(state["ema"])
        elif self.ema is not None:
            # Switched on for the rest of the run: the average starts from these weights.
            self.ema.module.load_state_dict(state["model"])
        for model in (self.model, self.evaluated_model):
            weights_replaced(model)
        self.iteration = state["iteration"]
        self.evaluated = state["evaluated"]
        self.best = dict(state["best"])
        self.kept = dict(state.get("kept", self.best))  # not in checkpoints of an older segkit
        self.saved = self.iteration
