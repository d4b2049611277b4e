"""The typed configuration of a training run; a recipe is a YAML file of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args

from kinema.data.loading.limits import ReadLimits
from kinema.data.manifest import data_place
from kinema.data.photometric import Photometric
from kinema.data.transforms import Augment
from kinema.errors import KinemaError, unknown
from kinema.training.distil import Distil
from kinema.training.multigrid import Multigrid
from kinema.training.twins import Twins

Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["step", "cosine", "constant"]
Precision = Literal["32", "bf16", "16"]
Trainable = Literal["all", "classifier", "class_regularisation"]
Balance = Literal["none", "classes"]
Keep = Literal["last", "best"]
Loss = Literal["auto", "cross_entropy", "binary"]
Logger = Literal["tensorboard", "csv", "wandb", "none"]


@dataclass(frozen=True)
class Optim:
    """The optimiser and the course of its learning rate.

    Attributes:
        name: `sgd`, or `adamw` (Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019), which usually
            takes an `lr` about a hundred times smaller and a larger `weight_decay`.
        lr: learning rate at its highest; the long cycle of multigrid multiplies it by 1 to 8, or with
            `multigrid.rate_at=first` by 1/8 to 1.
        momentum: of SGD; for AdamW, beta1, the decay of the mean of the gradients.
        beta2: of AdamW, the decay of the mean of the squared gradients.
        nesterov: use Nesterov's momentum; SGD only.
        weight_decay: on all parameters, or on those that `decay_bias_norm` leaves.
        decay_bias_norm: apply the weight decay to parameters of one dimension too: biases, and the weights of
            normalisation layers.
        schedule: `step` multiplies by `gamma` at each milestone, `cosine` falls to zero at the end, or `constant`.
        milestones: epochs at which `step` acts.
        gamma: factor of `step`.
        warmup: epochs, whole or in part, during which the rate rises linearly from a hundredth of its value.
        max_grad_norm: longest gradient (2-norm over all parameters); 0 does not clip.
        lr_mult: factors of the learning rate by part of the network, such as {features: 0.1, layer4: 0.5, stem: 0}.
            A key is the name of a part, and the longest name that matches a parameter decides. `features` stands for
            everything but the classifier and applies where no other name matches. `recurrence` stands for all recurrent
            cells; its factor multiplies the others, and replaces the network's own factor (0.1 for srtg_*, 1 for the
            rest). 0 freezes a part, its BatchNorm statistics included.
    """

    name: Optimiser = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    beta2: float = 0.999
    nesterov: bool = False
    weight_decay: float = 5e-4
    decay_bias_norm: bool = True
    schedule: Schedule = "cosine"
    milestones: tuple[int, ...] = (30, 40, 60)
    gamma: float = 0.1
    warmup: float = 0.0
    max_grad_norm: float = 20.0
    lr_mult: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, allowed in (("name", Optimiser), ("schedule", Schedule)):
            if getattr(self, name) not in get_args(allowed):
                raise unknown(f"optim.{name}", str(getattr(self, name)), get_args(allowed))
        # A comparison with `.nan`, which a recipe may hold, is false.
        for name in ("lr", "gamma"):
            if not 0 < getattr(self, name) < inf:
                raise KinemaError(f"optim.{name} is {getattr(self, name)}: give a number above 0")
        for name in ("momentum", "weight_decay", "warmup", "max_grad_norm"):
            if not 0 <= getattr(self, name) < inf:
                raise KinemaError(f"optim.{name} is {getattr(self, name)}: give 0 or more")
        if any(m < 1 for m in self.milestones):
            raise KinemaError(f"optim.milestones are {list(self.milestones)}: give epochs from 1 on")
        if not isinstance(self.lr_mult, dict):
            raise KinemaError(f"optim.lr_mult is {self.lr_mult!r}: give a factor per part, such as {{features: 0.1}}")
        for name, factor in self.lr_mult.items():
            if not isinstance(name, str):
                raise KinemaError(f"optim.lr_mult has the key {name!r}: give names of parts, such as features")
            if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 <= factor < inf:
                raise KinemaError(f"optim.lr_mult.{name} is {factor!r}: give a number of 0 or more")
        self._check_moments()

    def _check_moments(self) -> None:
        """Checks `momentum`, `beta2` and `nesterov` against the optimiser."""
        if not 0 <= self.beta2 < 1:
            raise KinemaError(f"optim.beta2 is {self.beta2}: give 0 or more, and less than 1")
        if self.name == "sgd":
            if self.nesterov and self.momentum == 0:
                raise KinemaError("optim.nesterov needs optim.momentum above 0")
            if self.beta2 != 0.999:
                raise KinemaError(f"optim.beta2 is {self.beta2}, which sgd does not have: set optim.name to adamw")
            return
        if self.momentum >= 1:
            raise KinemaError(f"optim.momentum is {self.momentum}: as beta1 of adamw it must be less than 1")
        if self.nesterov:
            raise KinemaError("optim.nesterov is true, which adamw does not have: set optim.name to sgd")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run depends on.

    Attributes:
        model: a name of the zoo (`kinema models`).
        data: a folder with one sub-folder per class, a CSV with the columns path, label and optionally split, or a
            catalogue with its folder, such as kinetics400:FOLDER.
        out: the run folder; without one, runs/<model>-<name of the data>.
        options: further options of the model, such as width or mode.
        clip: fields of the ClipSpec that differ from the model's own, such as crop or frames.
        weights: start from these: a run or recognizer, `imagenet`, a release of `kinema weights list`, or a file. The
            classifier of a recognizer with other labels is left out.
        epochs: passes over the training split.
        batch: clips per pass of the network, and with `accumulate` 1 per step.
        accumulate: passes per step, whose gradients are added up. A step then learns from `batch` times `accumulate`
            clips, as it would from a batch of that size, with the memory of `batch`; only BatchNorm sees the clips of
            one pass.
        train_split: name of the training split.
        val_split: name of a split that is tested after every epoch, one central clip per video. Nothing is selected by
            it unless `keep` or `patience` say so.
        keep: `last`, or `best` for the epoch with the highest accuracy on `val_split`; the last one is then saved
            beside it, in `recognizer-last`.
        patience: epochs without a higher accuracy on `val_split` after which the training ends; 0 trains all epochs.
        seed: of the weights, the order, and every augmentation.
        precision: 32, bf16 or 16 (mixed precision).
        optim: optimiser and schedule.
        augment: crops and flips.
        photometric: blur, colour and affine changes of training clips, on the device.
        mixup: parameter of the Beta distribution from which the mixing weights of pairs of clips are drawn; 0 is none.
        label_smoothing: share of the target that is spread over all classes.
        loss: `cross_entropy` for one label per video, `binary` (binary cross-entropy of every class, mean over classes)
            for any number of labels; `auto` takes what the data have.
        balance: `classes` draws clips so that every class comes equally often, with repeats; an epoch keeps its length.
        twins: Twins Training, two augmentations of the same frames and the correlation loss.
        distil: learning from the scores of another network too.
        multigrid: a schedule of smaller clips in larger batches.
        trainable: `all` weights, or only the `classifier`, or only those of `class_regularisation`, with everything
            else frozen, BatchNorm included.
        frozen_batchnorm: keep the statistics and the affine weights of every BatchNorm as they are at the start.
        ema: decay of an exponential moving average of the weights, such as 0.999, which is then validated and saved; 0
            is none.
        gate_warmup: epochs during which the temporal gates of SRTG are held open, so that their cells can learn.
        strict: stop at the first training video that cannot be read, instead of noting it in training-ledger.csv.
        workers: processes that read videos, for each process that trains; -1 divides the cores of a machine among its
            processes, at most 16 each. 0 reads in the process that trains, which then has no protection from a file
            that crashes or hangs the decoder.
        limits: what reading one clip may cost before it is given up as unreadable.
        device: auto, cpu, cuda, cuda:1, mps.
        processes: that train together, one per GPU (DistributedDataParallel); `batch` is shared among them. With
            torchrun its number of processes counts.
        deterministic: only kernels that give the same bits every time; on a GPU an exact resume needs it.
        checkpoint_steps: steps after which a checkpoint is written within an epoch; one follows every epoch anyway.
        logger: `tensorboard`, `csv`, `wandb` (offline unless WANDB_MODE says otherwise) or `none`, beside metrics.csv.
    """

    model: str
    data: str
    out: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    clip: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    epochs: int = 30
    batch: int = 16
    accumulate: int = 1
    train_split: str = "train"
    val_split: str | None = None
    keep: Keep = "last"
    patience: int = 0
    seed: int = 0
    precision: Precision = "32"
    optim: Optim = field(default_factory=Optim)
    augment: Augment = field(default_factory=Augment)
    photometric: Photometric = field(default_factory=Photometric)
    mixup: float = 0.0
    label_smoothing: float = 0.0
    loss: Loss = "auto"
    balance: Balance = "none"
    twins: Twins = field(default_factory=Twins)
    distil: Distil = field(default_factory=Distil)
    multigrid: Multigrid = field(default_factory=Multigrid)
    trainable: Trainable = "all"
    frozen_batchnorm: bool = False
    ema: float = 0.0
    gate_warmup: int = 0
    strict: bool = False
    workers: int = -1
    limits: ReadLimits = field(default_factory=ReadLimits)
    device: str = "auto"
    processes: int = 1
    deterministic: bool = False
    checkpoint_steps: int = 500
    logger: Logger = "tensorboard"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate", "processes", "checkpoint_steps"):
            if getattr(self, name) < 1:
                raise KinemaError(f"{name} is {getattr(self, name)}: give at least 1")
        if not 0 <= self.seed < 2**63:
            raise KinemaError(f"seed is {self.seed}: give 0 or more, and less than 2^63")
        if self.weights == "":
            raise KinemaError("weights is empty: name some, or give null to start without")
        if self.workers < -1:
            raise KinemaError(f"workers is {self.workers}: give 0 or more, or -1 for one per core")
        closed = {
            "precision": Precision, "trainable": Trainable, "loss": Loss, "balance": Balance, "keep": Keep,
            "logger": Logger,
        }  # fmt: skip
        for name, allowed in closed.items():
            if getattr(self, name) not in get_args(allowed):
                raise unknown(name, str(getattr(self, name)), get_args(allowed))
        self._check_selection()
        if self.loss == "binary":
            self.check_sets("loss is binary")
        if not 0 <= self.mixup < inf:
            raise KinemaError(f"mixup is {self.mixup}: give 0 or more")
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise KinemaError(f"{name} is {getattr(self, name)}: give 0 or more, and less than 1")
        features = self.optim.lr_mult.get("features", 1.0)
        if self.trainable == "classifier" and features != 1:
            raise KinemaError(
                f"optim.lr_mult.features is {features}, which has no effect where trainable is classifier: remove one "
                "of the two"
            )
        if self.accumulate > 1 and self.twins.gather:
            raise KinemaError(
                f"accumulate is {self.accumulate}, but twins.gather correlates over the passes of all processes, which "
                "then need not be equally many: set one of the two to its default"
            )
        if self.multigrid.full_epochs >= self.epochs:
            raise KinemaError(
                f"multigrid.full_epochs is {self.multigrid.full_epochs}, which leaves no epoch for the "
                f"cycles, as epochs is {self.epochs}: give fewer"
            )
        if self.gate_warmup < 0:
            raise KinemaError(f"gate_warmup is {self.gate_warmup}: give 0 or more epochs")
        for name in ("frames", "num_classes"):
            if name in self.options:
                fix = "set clip.frames" if name == "frames" else "the labels of the data decide it"
                raise KinemaError(f"options.{name} cannot be given: {fix}")

    def check_sets(self, why: str) -> None:
        """Refuses what several labels per video do not go with.

        Args:
            why: there are several, for the message.

        Raises:
            KinemaError: a field that needs one label per video is set.
        """
        wrong = {"balance": self.balance != "none", "distil.teacher": self.distil.teacher is not None}
        wrong["loss"] = self.loss == "cross_entropy"
        field = next((name for name, is_set in wrong.items() if is_set), None)
        if field is not None:
            raise KinemaError(f"{why}, so a video may have several labels, which {field} does not allow: unset {field}")

    def _check_selection(self) -> None:
        """Checks that what selects an epoch has a split to do it by."""
        if self.patience < 0:
            raise KinemaError(f"patience is {self.patience}: give 0 or more epochs")
        for name, asked in (("keep", self.keep == "best"), ("patience", self.patience > 0)):
            if asked and self.val_split is None:
                raise KinemaError(f"{name} is {getattr(self, name)}, which needs val_split: give a split to select by")
            if asked and self.val_split == self.train_split:
                raise KinemaError(
                    f"{name} is {getattr(self, name)}, but val_split {self.val_split!r} is the split that is trained "
                    "on: give another one to select by"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written to `config.yaml`."""
        values = asdict(self)
        values["optim"]["milestones"] = list(self.optim.milestones)
        values["augment"]["jitter"] = list(self.augment.jitter)
        values["photometric"]["kinds"] = list(self.photometric.kinds)
        return values


# What may differ between the command that began a run and the one that continues it.
FREE = ("out", "workers", "limits", "device", "processes", "checkpoint_steps", "logger")


def completed(old: dict[str, Any]) -> dict[str, Any]:
    """Adds the fields that an earlier version did not write into a configuration yet, with their defaults."""
    defaults = TrainConfig(str(old.get("model", "")), str(old.get("data", ""))).to_dict()
    groups = {
        key: {**value, **old[key]}
        for key, value in defaults.items()
        if isinstance(value, dict) and isinstance(old.get(key), dict)
    }
    # Before losses could be chosen, all runs had this one; `auto` stands for it only in what has not been resolved.
    return {**defaults, "loss": "cross_entropy", **old, **groups}


def _same_path(first: str | None, second: str | None) -> bool:
    """Whether two texts are equal, or are two ways to write the path of one existing file or folder."""
    if first is None or second is None or first == second:
        return first == second
    try:
        return Path(first).exists() and Path(first).resolve() == Path(second).resolve()
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle, in Python 3.11 and 3.12
        return False


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Lists the dotted names of the fields in which two configurations differ, except those in `FREE`.

    Data or weights that are given by another path to the same place (relative, absolute, through a symbolic link) do
    not differ.
    """
    found = []
    for key in sorted(set(old) | set(new)):
        if not prefix and key in FREE:
            continue
        a, b = old.get(key), new.get(key)
        if not prefix and key == "weights" and _same_path(a, b):
            continue
        if not prefix and key == "data" and data_place(str(a)) == data_place(str(b)):
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found
