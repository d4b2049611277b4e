"""The typed configuration of a training run; a recipe is a YAML file with its fields."""

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
    """The optimiser and the schedule of its learning rate.

    Attributes:
        name: `sgd`, or `adamw` (Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019), which usually
            needs an `lr` about a hundred times smaller and a larger `weight_decay`.
        lr: highest learning rate of the schedule; the long cycle of multigrid multiplies it by 1 to 8, or with
            `multigrid.rate_at=first` by 1/8 to 1.
        momentum: momentum of SGD; for AdamW it is beta1, the decay of the mean of the gradients.
        beta2: decay of the mean of the squared gradients; AdamW only.
        nesterov: use Nesterov momentum; SGD only.
        weight_decay: weight decay of all parameters, or without `decay_bias_norm` of those with two or more dimensions.
        decay_bias_norm: also apply the weight decay to parameters with one dimension: biases, and the weights of
            normalisation layers.
        schedule: `step` multiplies by `gamma` at each milestone, `cosine` falls to zero at the end, `constant` stays.
        milestones: epochs at which `step` acts.
        gamma: factor of the `step` schedule.
        warmup: epochs (fractions are allowed) in which the rate rises linearly from a hundredth of its value.
        max_grad_norm: longest gradient (2-norm over all parameters); longer ones are scaled down. 0 does not clip.
        lr_mult: factors of the learning rate per part of the network, such as {features: 0.1, layer4: 0.5, stem: 0}.
            A key is the name of a part; the longest name that matches a parameter decides. `features` means
            everything except the classifier and applies where no other name matches. `recurrence` means all recurrent
            cells; its factor multiplies the others and replaces the network's own factor (0.1 for srtg_*, 1 for all
            other networks). 0 freezes a part, including its BatchNorm statistics.
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
        # Comparisons with `.nan`, which a recipe may contain, are false.
        for name in ("lr", "gamma"):
            if not 0 < getattr(self, name) < inf:
                raise KinemaError(f"optim.{name} is {getattr(self, name)}: give a number above 0")
        for name in ("momentum", "weight_decay", "warmup", "max_grad_norm"):
            if not 0 <= getattr(self, name) < inf:
                raise KinemaError(f"optim.{name} is {getattr(self, name)}: give 0 or more")
        if any(m < 1 for m in self.milestones):
            raise KinemaError(f"optim.milestones are {list(self.milestones)}: give epochs of at least 1")
        if not isinstance(self.lr_mult, dict):
            raise KinemaError(f"optim.lr_mult is {self.lr_mult!r}: give a factor per part, such as {{features: 0.1}}")
        for name, factor in self.lr_mult.items():
            if not isinstance(name, str):
                raise KinemaError(f"optim.lr_mult has the key {name!r}: give names of parts, such as features")
            if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 <= factor < inf:
                raise KinemaError(f"optim.lr_mult.{name} is {factor!r}: give a number of 0 or more")
        self._check_moments()

    def _check_moments(self) -> None:
        """Checks `momentum`, `beta2` and `nesterov` for the chosen optimiser."""
        if not 0 <= self.beta2 < 1:
            raise KinemaError(f"optim.beta2 is {self.beta2}: give 0 or more, and less than 1")
        if self.name == "sgd":
            if self.nesterov and self.momentum == 0:
                raise KinemaError("optim.nesterov needs optim.momentum above 0")
            if self.beta2 != 0.999:
                raise KinemaError(f"optim.beta2 is {self.beta2}, but sgd has no beta2: set optim.name to adamw")
            return
        if self.momentum >= 1:
            raise KinemaError(f"optim.momentum is {self.momentum}: adamw uses it as beta1, so give less than 1")
        if self.nesterov:
            raise KinemaError("optim.nesterov is true, but adamw has no Nesterov momentum: set optim.name to sgd")


@dataclass(frozen=True)
class TrainConfig:
    """All settings that a training run depends on.

    Attributes:
        model: name of a model (see `kinema models`).
        data: a folder with one sub-folder per class, a CSV with the columns path, label and optionally split, or a
            catalogue with its folder, such as kinetics400:FOLDER.
        out: the run folder; the default is runs/<model>-<name of the data>.
        options: further options of the model, such as width or mode.
        clip: fields of the ClipSpec that differ from the model's own, such as crop or frames.
        weights: weights to start from: a run or recognizer, `imagenet`, a release of `kinema weights list`, or a file.
            The classifier of a recognizer with other labels is not loaded.
        epochs: passes over the training split.
        batch: clips per forward pass; one step takes `accumulate` passes.
        accumulate: passes per step; their gradients are added up. A step then learns from `batch` times `accumulate`
            clips, as from a batch of that size, but needs only the memory of `batch`. BatchNorm normalises each pass
            separately.
        train_split: name of the training split.
        val_split: name of a split that is tested after every epoch, with one central clip per video. It selects nothing
            unless `keep` or `patience` is set.
        keep: `last`, or `best` for the epoch with the highest accuracy on `val_split`; the last epoch is then also
            saved, in `recognizer-last`.
        patience: end the training after this many epochs without a higher accuracy on `val_split`; 0 trains all epochs.
        seed: seed of the weights, the order of clips, and every augmentation.
        precision: 32, bf16 or 16 (mixed precision).
        optim: optimiser and schedule.
        augment: crops and flips.
        photometric: blur, colour and affine changes of training clips, computed on the device.
        mixup: parameter of the Beta distribution of the weights with which pairs of clips are mixed; 0 mixes none.
        label_smoothing: part of the target that is spread evenly over all classes.
        loss: `cross_entropy` for one label per video; `binary` (binary cross-entropy per class, mean over classes) for
            any number of labels; `auto` decides by the data.
        balance: `classes` draws clips so that every class occurs equally often, with repeats; epochs keep their length.
        twins: Twins Training: two augmentations of the same frames, and the correlation loss.
        distil: distillation: also learn from the scores of another network.
        multigrid: schedule of smaller clips in larger batches.
        trainable: `all` weights, or only the `classifier`, or only those of `class_regularisation`; everything else is
            frozen, including BatchNorm.
        frozen_batchnorm: keep the statistics and affine weights of every BatchNorm at their initial values.
        ema: decay of an exponential moving average of the weights, such as 0.999; the average is then validated and
            saved. 0 uses no average.
        gate_warmup: epochs in which the temporal gates of SRTG are held open, so that their cells can learn.
        strict: stop at the first training video that cannot be read, instead of listing it in training-ledger.csv.
        workers: reader processes per training process; -1 divides the cores of a machine among its training processes,
            at most 16 readers each. 0 reads in the training process, which is then not protected from a file that
            crashes or hangs the decoder.
        limits: time and memory that one clip may take before it counts as unreadable.
        device: auto, cpu, cuda, cuda:1 or mps.
        processes: training processes, one per GPU (DistributedDataParallel); `batch` is divided among them. Under
            torchrun, its number of processes is used instead.
        deterministic: use only kernels that give the same bits every time; an exact resume on a GPU needs it.
        checkpoint_steps: number of steps between checkpoints within an epoch; there is also one after every epoch.
        logger: `tensorboard`, `csv`, `wandb` (offline unless WANDB_MODE is set) or `none`. metrics.csv is written with
            each of them.
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
            raise KinemaError("weights is empty: name the weights, or give null to start without any")
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
                f"optim.lr_mult.features is {features}, which has no effect if trainable is classifier: remove one "
                "of the two"
            )
        if self.accumulate > 1 and self.twins.gather:
            raise KinemaError(
                f"accumulate is {self.accumulate}, but twins.gather needs the same number of passes in all "
                "processes, which accumulate does not guarantee: set one of the two to its default"
            )
        if self.multigrid.full_epochs >= self.epochs:
            raise KinemaError(
                f"multigrid.full_epochs is {self.multigrid.full_epochs}, which leaves no epoch for the "
                f"cycles because epochs is {self.epochs}: give a smaller number"
            )
        if self.gate_warmup < 0:
            raise KinemaError(f"gate_warmup is {self.gate_warmup}: give 0 or more epochs")
        for name in ("frames", "num_classes"):
            if name in self.options:
                fix = "set clip.frames" if name == "frames" else "it follows from the labels of the data"
                raise KinemaError(f"options.{name} cannot be given: {fix}")

    def check_sets(self, why: str) -> None:
        """Rejects settings that do not work with several labels per video.

        Args:
            why: reason why there are several labels, for the message.

        Raises:
            KinemaError: a field that needs one label per video is set.
        """
        wrong = {"balance": self.balance != "none", "distil.teacher": self.distil.teacher is not None}
        wrong["loss"] = self.loss == "cross_entropy"
        field = next((name for name, is_set in wrong.items() if is_set), None)
        if field is not None:
            raise KinemaError(f"{why}, but {field} needs one label per video: unset {field}")

    def _check_selection(self) -> None:
        """Checks that there is a validation split if `keep` or `patience` selects an epoch."""
        if self.patience < 0:
            raise KinemaError(f"patience is {self.patience}: give 0 or more epochs")
        for name, asked in (("keep", self.keep == "best"), ("patience", self.patience > 0)):
            if asked and self.val_split is None:
                raise KinemaError(f"{name} is {getattr(self, name)}, which needs val_split: give a validation split")
            if asked and self.val_split == self.train_split:
                raise KinemaError(
                    f"{name} is {getattr(self, name)}, but val_split {self.val_split!r} is also the training "
                    "split: give another split"
                )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, as they are written to `config.yaml`."""
        values = asdict(self)
        values["optim"]["milestones"] = list(self.optim.milestones)
        values["augment"]["jitter"] = list(self.augment.jitter)
        values["photometric"]["kinds"] = list(self.photometric.kinds)
        return values


# Fields that may differ between the command that began a run and the command that continues it.
FREE = ("out", "workers", "limits", "device", "processes", "checkpoint_steps", "logger")


def completed(old: dict[str, Any]) -> dict[str, Any]:
    """Adds fields that did not exist when an earlier version wrote the configuration, with their defaults."""
    defaults = TrainConfig(str(old.get("model", "")), str(old.get("data", ""))).to_dict()
    groups = {
        key: {**value, **old[key]}
        for key, value in defaults.items()
        if isinstance(value, dict) and isinstance(old.get(key), dict)
    }
    # Before the loss became an option, all runs used this one; `auto` appears only in unresolved configurations.
    return {**defaults, "loss": "cross_entropy", **old, **groups}


def _same_path(first: str | None, second: str | None) -> bool:
    """True if two texts are equal, or are paths of the same existing file or folder."""
    if first is None or second is None or first == second:
        return first == second
    try:
        return Path(first).exists() and Path(first).resolve() == Path(second).resolve()
    except (OSError, ValueError, RuntimeError):  # RuntimeError: a loop of links, in Python 3.11 and 3.12
        return False


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Lists the dotted names of the fields in which two configurations differ, except those in `FREE`.

    Data or weights do not differ if they are given by another path to the same place (relative, absolute, through a
    symbolic link).
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
