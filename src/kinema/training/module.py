"""One training step and one validation step, as Lightning calls them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from kinema.clip_spec import ClipSpec
from kinema.data import photometric
from kinema.data.datasets import multi_hot
from kinema.data.label_sets import LabelSet
from kinema.data.transforms import to_input
from kinema.errors import KinemaError, RunError
from kinema.evaluation.multi_label import mean_average_precision
from kinema.models import VideoModel
from kinema.ops.recurrence import gated_stages, set_gate, stage_open_rates
from kinema.processes import all_gather_object, all_reduce_sum, connected_rank
from kinema.training.average import MovingAverage
from kinema.training.config import TrainConfig
from kinema.training.distil import Teacher, distillation_loss
from kinema.training.figures import StepFigures
from kinema.training.learning import check_gates, freeze, keep_frozen, optimiser
from kinema.training.mixing import mixup
from kinema.training.multigrid import Steps
from kinema.training.schedule import factor
from kinema.training.sub_batches import SubBatches, group_sizes
from kinema.training.twins import gather_logits, twins_loss

FIGURES = ("loss", "twins_loss", "hits")  # metrics of a step
COUNTS = (*FIGURES, "clips", "val_hits", "val_videos")
VAL_MAP = "val_map"  # column of metrics.csv: mean average precision on the validation split
OPEN = "open_"  # followed by the name of a stage: number of clips for which its gates were open


class Training(pl.LightningModule):
    """A network that learns by cross-entropy, or by the binary cross-entropy of every class if `config.loss` says so.

    With Twins Training it also learns by the correlation loss.

    All random numbers of a step follow from (seed, epoch, step, process), so that a run can be resumed at any step.

    Attributes:
        model: the network, clips N 3 T H W -> logits N K.
        average: the moving average of the network's weights, or None.
        failures: training videos that could not be read, path -> reason.
        val_failures: validation videos that could not be read, path -> reason.
        tally: losses, hits and open gates per stage in the epoch so far, summed over clips.
        readable: number of readable clips of the step, over all processes.
        val_figure: accuracy on the validation split after the last epoch, or the mAP if a video may have several
            labels.
    """

    def __init__(
        self, model: VideoModel, spec: ClipSpec, config: TrainConfig, steps: Steps, data: str = "",
        teacher: Teacher | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.spec, self.config = model, spec, config
        self.steps = steps
        self.data = data  # fingerprint of the data
        self.teacher = teacher
        self.failures: dict[str, str] = {}
        self.val_failures: dict[str, str] = {}
        freeze(model, config)
        check_gates(model, config)
        self.average = MovingAverage(model, config.ema) if config.ema else None
        grid = config.multigrid
        self.sub_batches = SubBatches(model) if grid.cycles != "none" and grid.sub_batches else None
        gates = tuple(OPEN + stage for stage in gated_stages(model))
        self.figures, self.counts = FIGURES + gates, COUNTS + gates
        self._figures: StepFigures | None = None  # metrics of the last step, until they are read
        self.tally: dict[str, float] = dict.fromkeys(self.counts, 0.0)
        self.readable = 0.0
        self.val_figure = 0.0
        self.multi_label = config.loss == "binary"
        self._shown: list[tuple[Tensor, Tensor]] = []  # labels and logits of multi-label validation videos

    @property
    def val_name(self) -> str:
        """The column of `metrics.csv` that contains `val_figure`."""
        return VAL_MAP if self.multi_label else "val_top1"

    @property
    def result(self) -> VideoModel:
        """The network that is validated and saved: the moving average if there is one."""
        averaged: Any = self.model if self.average is None else self.average.module
        return averaged

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Builds the optimiser, and a scheduler that sets the learning rate before every step."""
        built = optimiser(self.model, self.config.optim)
        rate = torch.optim.lr_scheduler.LambdaLR(built, self.rate)
        return {"optimizer": built, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def rate(self, step: int) -> float:
        """Returns the factor of `optim.lr` at a step of the whole training, counted from 0."""
        epoch, i = self.steps.at(step)
        steps = self.steps.of(epoch)
        return factor(self.config.optim, epoch + i / len(steps), self.config.epochs) * steps[i].rate

    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Moves the tensors of a batch to the device; paths and failures stay on the host."""
        names = [key for key in ("clip", "twin", "label") if key in batch]
        return {**batch, **{key: batch[key].to(device, non_blocking=True) for key in names}}

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Records the videos of the batch that could not be read; with `strict` the first one raises `RunError`."""
        for failure in batch["failures"]:
            if self.config.strict:
                raise RunError(f"{failure.path}: {failure.reason}; repair or remove it, or train without --strict")
            self.failures[failure.path] = failure.reason
        self.readable = all_reduce_sum(len(batch["path"]))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Computes the loss of a batch, and all its gradients except those of the last part, which Lightning computes.

        Raises:
            RunError: the loss of the previous step is not finite.
        """
        self.settle()
        self.model.zero_grad()  # here, because Lightning's later call would drop the first parts' gradients
        n = len(batch["path"])
        if n == 0:  # with several processes, each must take part in every step
            return self._nothing(self.readable if self.config.twins.gather else n)
        inputs, targets = self._inputs(batch, batch_idx)
        step = self.global_step
        self._figures = StepFigures(step, self.config.optim.lr * self.rate(step), batch["path"], self.figures)
        sizes = self._parts(n)
        parts = zip(*(x.split(sizes) for x in (*inputs, targets, batch["label"])), strict=True)
        for i, (m, (*views, target, labels)) in enumerate(zip(sizes, parts, strict=True)):
            loss, found = self._loss(views, target, labels, self.readable if self.config.twins.gather else m)
            found |= {OPEN + stage: share for stage, share in stage_open_rates(self.model).items()}
            self._figures.add(m, found)
            # The mean of the gradients over processes is then the gradient of the mean over all clips.
            loss = loss * (m * self.trainer.world_size / self.readable)
            if i + 1 < len(sizes):
                with torch.autocast(self.device.type, enabled=False):
                    self.trainer.strategy.backward(loss, None)
        return loss

    def _parts(self, clips: int) -> list[int]:
        """Splits the clips of a step into the parts that this process computes, `accumulate` of them if possible."""
        usual = max(1, self.config.batch // self.trainer.world_size)
        return group_sizes(clips, max(usual, -(-clips // self.config.accumulate)))

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """Does nothing: `training_step` has zeroed the gradients before it accumulated them."""

    def settle(self) -> None:
        """Adds the metrics of the last step to the tally and logs its loss and rate; waits until they are computed.

        Raises:
            RunError: the loss is not finite.
        """
        figures, self._figures = self._figures, None
        if figures is None:
            return
        found = figures.read()
        for name, value in found.items():
            self.tally[name] += value
        if self.trainer.logger is not None:
            shown = {"step_loss": found["loss"] / found["clips"], "step_lr": figures.lr}
            self.trainer.logger.log_metrics(shown, step=figures.step)

    def _nothing(self, together: float) -> Tensor:
        """Returns a loss of 0 for a process without clips; it must take part in the gathering that others wait for."""
        nothing = torch.stack([p.sum() * 0 for p in self.model.parameters() if p.requires_grad]).sum()
        if self.config.twins.weight and together > 1:
            for _ in range(2):  # views
                gathered = gather_logits(nothing * nothing.new_zeros(0, self.model.classifier.out_features))
                nothing = nothing + gathered[:0].sum()
        return nothing

    def _inputs(self, batch: dict[str, Any], batch_idx: int) -> tuple[list[Tensor], Tensor]:
        """Returns the network's input for a batch, one tensor per view, and the targets; seeds the step's dropout."""
        config, labels = self.config, batch["label"]
        words = [config.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.default_rng(words).integers(2**63)))  # for dropout
        targets, inputs = labels, []
        for view, clips in enumerate([batch["clip"], *([batch["twin"]] if "twin" in batch else [])]):
            changed = photometric.apply(clips, config.photometric, np.random.default_rng([*words, view]))
            x = to_input(changed, self.spec)
            if config.mixup or config.label_smoothing:  # the same pairs and weights in both views
                x, targets = mixup(
                    x, labels, self.model.classifier.out_features, config.mixup, config.label_smoothing,
                    np.random.default_rng(words),
                )  # fmt: skip
            inputs.append(x)
        return inputs, targets

    def _loss(
        self, views: list[Tensor], targets: Tensor, labels: Tensor, together: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss and the metrics of some clips; Twins Training correlates over `together` clips."""
        config = self.config
        logits = [z.float() for z in self._forward(views, len(labels))]
        criterion = F.binary_cross_entropy_with_logits if self.multi_label else F.cross_entropy
        loss = torch.stack([criterion(z, targets) for z in logits]).mean()
        found: dict[str, Tensor] = {}
        if self.teacher is not None:
            pairs = zip(logits, views, strict=True)
            taught = [distillation_loss(z, self.teacher.logits(x), config.distil.temperature) for z, x in pairs]
            loss = (1 - config.distil.weight) * loss + config.distil.weight * torch.stack(taught).mean()
        if len(logits) == 2 and together > 1:  # a batch with one readable clip has no correlation
            given = [gather_logits(z) if config.twins.gather else z for z in logits]
            correlation = twins_loss(*given, beta=config.twins.beta, centre=config.twins.centre)
            found["twins_loss"] = correlation
            loss = loss + config.twins.weight * correlation
        hits = torch.stack([self._hits(z, labels).float().mean() for z in logits]).mean()
        return loss, found | {"loss": loss, "hits": hits}

    def _hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Per clip, True if the highest score is that of its label, or of one of its labels; N."""
        best = logits.argmax(1)
        return labels.gather(1, best[:, None])[:, 0] if self.multi_label else best == labels

    def _forward(self, inputs: list[Tensor], n: int) -> list[Tensor]:
        joint = len(inputs) > 1 and self.config.twins.joint
        size = n
        if self.sub_batches is not None:
            size = max(1, self.config.batch // self.trainer.world_size)
            self.sub_batches.set(n * (2 if joint else 1), size * (2 if joint else 1))
        if not joint:
            return [self.model(x) for x in inputs]
        # In parts, so that every sub-batch contains both views of its clips.
        parts = [part for pair in zip(*(x.split(size) for x in inputs), strict=True) for part in pair]
        logits = self.model(torch.cat(parts)).split([len(part) for part in parts])
        return [torch.cat(logits[view::2]) for view in range(2)]

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Makes a step and updates the moving average, unless no process could read a clip: the weights would decay."""
        if self.readable == 0:
            optimizer_closure()
            return
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Counts hits on one central clip per video; a video that cannot be read counts as wrong."""
        self.tally["val_videos"] += len(batch["path"]) + len(batch["failures"])
        for failure in batch["failures"]:
            self.val_failures[failure.path] = failure.reason
            if isinstance(failure.label, LabelSet):
                self._shown.append((multi_hot([failure.label]), torch.full((1, failure.label.classes), torch.nan)))
        if batch["path"]:
            logits = self.result(to_input(batch["clip"], self.spec))
            self.tally["val_hits"] += int(self._hits(logits, batch["label"]).sum())
            if self.multi_label:
                self._shown.append((batch["label"].cpu(), logits.float().cpu()))

    def on_validation_epoch_end(self) -> None:
        """Computes the metric of the epoch over the videos of all processes.

        Raises:
            RunError: the loss of the last step is not finite.
        """
        self.settle()
        hits, videos = (all_reduce_sum(self.tally[name]) for name in ("val_hits", "val_videos"))
        self.val_figure = hits / max(1.0, videos)
        if self.multi_label:
            pairs = [pair for part in all_gather_object(self._shown) for pair in part]
            self._shown = []
            truth, scores = (torch.cat([pair[i] for pair in pairs]).numpy() for i in range(2))
            self.val_figure = mean_average_precision(truth > 0, scores) or 0.0

    def on_train_start(self) -> None:
        """Sets the modes again: after a resume within an epoch, `on_train_epoch_start` is not called for it."""
        self._set_modes()

    def on_train_epoch_start(self) -> None:
        """Sets the modes of the modules and clears the tally for the new epoch."""
        self.settle()
        self._set_modes()
        self.tally.update(dict.fromkeys(self.counts, 0.0))

    def _set_modes(self) -> None:
        """Sets training and evaluation modes, and holds the gates open during `gate_warmup`."""
        keep_frozen(self.model, self.config)
        set_gate(self, open=self.current_epoch < self.config.gate_warmup)  # also those of the moving average

    def meet(self) -> dict[str, float]:
        """Merges the failures of all processes and returns the sum of their tallies."""
        self.settle()
        for train, val in all_gather_object((self.failures, self.val_failures)):
            self.failures.update(train)
            self.val_failures.update(val)
        return {key: all_reduce_sum(value) for key, value in self.tally.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds unreadable videos, the tallies of all processes and the fingerprint of the data to the checkpoint."""
        self.meet()
        checkpoint["ledger"] = {"train": self.failures, "val": self.val_failures}
        checkpoint["tally"] = all_gather_object(self.tally)
        checkpoint["videos"] = self.data

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores unreadable videos and the tally from the checkpoint.

        Raises:
            KinemaError: the run began with other data, which would change the order of clips.
        """
        # Checkpoints of earlier versions contain another fingerprint, which depended on the spelling of the path.
        if checkpoint.get("videos", self.data) != self.data:
            raise KinemaError(
                f"{self.config.data}: the videos or labels of the split {self.config.train_split!r} have changed since "
                "this run began; restore them, or give another --out"
            )
        self.failures.update(checkpoint["ledger"]["train"])
        self.val_failures.update(checkpoint["ledger"]["val"])
        tallies, here = checkpoint["tally"], connected_rank()
        if len(tallies) == here.world:
            self.tally.update(tallies[here.index])
        elif here.first:  # the number of processes has changed
            self.tally.update({key: sum(tally.get(key, 0.0) for tally in tallies) for key in self.counts})
