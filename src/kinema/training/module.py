"""One training step and one validation step, as Lightning calls them."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from kinema.clip_spec import ClipSpec
from kinema.data.transforms import to_input
from kinema.errors import KinemaError, RunError
from kinema.models import VideoModel
from kinema.ops.recurrence import set_gate
from kinema.training.config import TrainConfig
from kinema.training.schedule import factor


class Training(pl.LightningModule):
    """A network that learns by cross-entropy.

    Attributes:
        model: the network, clips N 3 T H W -> logits N K.
        failures: training videos that could not be read, path -> reason.
        val_failures: the same of the validation split.
        tally: loss and hits of the epoch so far, summed over clips.
    """

    def __init__(self, model: VideoModel, spec: ClipSpec, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.model, self.spec, self.config = model, spec, config
        self.steps = steps  # of an epoch
        self.failures: dict[str, str] = {}
        self.val_failures: dict[str, str] = {}
        if config.learn == "class_regularisation":
            if not model.class_regularisation:
                raise KinemaError("learn is class_regularisation: give options.class_regularisation, a number a stage")
            model.requires_grad_(False)
            model.class_regularisation.requires_grad_(True)
        if config.gate_warmup and not set_gate(model, open=True):
            raise KinemaError(
                f"gate_warmup is {config.gate_warmup}, but {config.model} has no gate: set options.gate hard"
            )
        self.tally = {"loss": 0.0, "hits": 0, "clips": 0, "val_hits": 0, "val_videos": 0}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """SGD, its rate set anew before every step."""
        o = self.config.optim
        sgd = torch.optim.SGD(
            [p for p in self.model.parameters() if p.requires_grad],
            o.lr,
            momentum=o.momentum,
            weight_decay=o.weight_decay,
            nesterov=o.nesterov,
        )
        rate = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: factor(o, step / self.steps, self.config.epochs))
        return {"optimizer": sgd, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Moves the tensors alone; paths and failures are of no use to a device."""
        moved = {key: batch[key].to(device, non_blocking=True) for key in ("clip", "label")}
        return {**batch, **moved}

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        """Cross-entropy of the batch; None where none of its videos could be read."""
        for failure in batch["failures"]:
            if self.config.strict:
                raise RunError(f"{failure.path}: {failure.reason}; mend or remove it, or train without --strict")
            self.failures[failure.path] = failure.reason
        if not batch["path"]:
            return None
        logits = self.model(to_input(batch["clip"], self.spec)).float()
        loss = F.cross_entropy(logits, batch["label"])
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss is {loss.item()} at step {self.global_step} with the files {', '.join(batch['path'])}; "
                "lower optim.lr, or use precision 32"
            )
        n = len(batch["path"])
        self.tally["loss"] += loss.item() * n
        self.tally["hits"] += int((logits.argmax(1) == batch["label"]).sum())
        self.tally["clips"] += n
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One central clip of each video; a video that cannot be read counts as wrong."""
        self.tally["val_videos"] += len(batch["path"]) + len(batch["failures"])
        for failure in batch["failures"]:
            self.val_failures[failure.path] = failure.reason
        if batch["path"]:
            logits = self.model(to_input(batch["clip"], self.spec))
            self.tally["val_hits"] += int((logits.argmax(1) == batch["label"]).sum())

    def on_train_epoch_start(self) -> None:
        """A new epoch, a new tally; what is frozen does not gather statistics either."""
        if self.config.learn == "class_regularisation":
            self.model.eval()
            self.model.class_regularisation.train()
        set_gate(self.model, open=self.current_epoch < self.config.gate_warmup)
        self.tally.update(loss=0.0, hits=0, clips=0, val_hits=0, val_videos=0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The ledger survives a stop."""
        checkpoint["ledger"] = {"train": self.failures, "val": self.val_failures}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """And is taken up again."""
        self.failures.update(checkpoint["ledger"]["train"])
        self.val_failures.update(checkpoint["ledger"]["val"])
