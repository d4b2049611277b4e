"""`train`: trains with a configuration and leaves a run folder with a recognizer in it.

A run folder contains `config.yaml`, `network.json` (every option of the network), `videos.parquet` (the training
videos), `metrics.csv`, `checkpoints/`, the output of its logger (`tensorboard/`), `training-ledger.csv` if videos could
not be read or are absent, and at the end `recognizer/`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml

from kinema.card import CARD, LAST, SELECTION
from kinema.clip_spec import ClipSpec
from kinema.config_file import CONFIG, read_yaml
from kinema.data.label_remarks import UNTRAINED, label_remarks
from kinema.data.manifest import Manifest, data_name, read_manifest, require_trainable
from kinema.data.spacing import frame_seconds
from kinema.errors import KinemaError, RunError
from kinema.files import FULL, LOCK, clear_parts, held, reason, replace_file
from kinema.models import VideoModel
from kinema.processes import Rank, denormals_as_zero, environment_rank, room_for_readers, together
from kinema.recognizer import Recognizer
from kinema.text import plural
from kinema.training import learning
from kinema.training.checkpoint import AtomicCheckpointIO, Checkpoints, begun, done, newest
from kinema.training.config import TrainConfig, completed, differences
from kinema.training.distil import Teacher
from kinema.training.loading import fingerprint, train_loader, val_loader
from kinema.training.loggers import logger
from kinema.training.module import Training
from kinema.training.multigrid import describe
from kinema.training.network import build, keep
from kinema.training.run_log import LEDGER, RunLog, read_metrics
from kinema.training.schedule import unreached
from kinema.training.selection import Selection
from kinema.training.start import start
from kinema.training.twins import doubts
from kinema.training.videos import difference, is_proof, listed, read_videos, write_videos

_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def run_folder(config: TrainConfig) -> Path:
    """Returns the run folder of a configuration: its `out`, or else `runs/` with the names of model and data."""
    return Path(config.out or f"runs/{config.model}-{data_name(config.data)}")


def train(config: TrainConfig, *, say: Callable[[str], None] = print) -> Path:
    """Trains a network, continues a run that was stopped, or does nothing if the run is finished.

    Args:
        config: configuration of the run.
        say: receives lines to print.

    Returns:
        The run folder.

    Raises:
        KinemaError: the data or the configuration are wrong, the data have changed since the run began, the folder
            contains another run, or another process is writing into it.
        RunError: the loss is not finite, the disk is full, or no video can be read.
    """
    here = environment_rank(config.processes)
    if not here.first:
        say = _silent
    manifest = read_manifest(config.data)
    learned = _split(manifest, config, "train_split")
    require_trainable(learned)
    config = _with_loss(config, learned)
    checked = None if config.val_split is None else _split(manifest, config, "val_split")
    out = run_folder(config)
    model, spec, remarks = _network(config, out, learned)
    if here.first:
        _require_run_folder(out)
    with held(out) if here.first else nullcontext():
        if here.first:
            _open_folder(out, config, learned)
            keep(out, model, spec)
        if (out / "recognizer" / CARD).is_file():
            say(f"{out}: this run is finished; to train again, give another --out")
            return out
        say(_summary(config, manifest, learned, spec, out, remarks))
        module, selection = _fit(config, learned, checked, model, spec, out, say, here)
        if here.first:
            _save(config, learned, module, selection, spec, out, say)
    return out


def _split(manifest: Manifest, config: TrainConfig, field: str) -> Manifest:
    name = getattr(config, field)
    if name not in manifest.named_splits:
        fix = f"give one of them as {field}" + ("" if field == "train_split" else ", or null")
        known = ", ".join(manifest.splits) or "none"
        raise KinemaError(f"{field} is {name!r}, but the splits of {config.data} are {known}: {fix}")
    return manifest.split(name)


def _with_loss(config: TrainConfig, learned: Manifest) -> TrainConfig:
    """Returns the configuration with `loss: auto` replaced by the loss that fits the data."""
    if learned.multi_label:
        config.check_sets(f"{config.data} has cells with several labels")
    if config.loss == "auto":
        return replace(config, loss="binary" if learned.multi_label else "cross_entropy")
    return config


def _network(config: TrainConfig, out: Path, learned: Manifest) -> tuple[VideoModel, ClipSpec, list[str]]:
    model, spec, remarks = build(config, out, len(learned.labels))
    if config.weights is not None:
        remarks = [*remarks, *start(model, config, learned.labels, learned.order)]
    return model, spec, remarks


def _require_run_folder(out: Path) -> None:
    """Raises `KinemaError` if the folder exists, is not empty and is not a run folder."""
    if (out / CONFIG).exists() or not out.exists():
        return
    if not out.is_dir() or any(path.name != LOCK for path in out.iterdir()):
        raise KinemaError(f"{out}: exists and is not a run folder; give another --out")


def _open_folder(out: Path, config: TrainConfig, learned: Manifest) -> None:
    """Writes configuration and videos of a new run; raises `KinemaError` if the folder contains another run."""
    for folder in (out, out / "checkpoints", out / "recognizer", out / LAST):
        clear_parts(folder)
    path = out / CONFIG
    if path.exists():
        old = read_yaml(path, "restore it, or give another --out")
        changed = differences(completed(old), config.to_dict())
        has_begun = begun(out / "checkpoints") or (out / "recognizer").exists()
        if has_begun and changed in ([], ["data"]):
            _require_same_videos(out, config, learned, moved=changed == ["data"])
            return
        if has_begun:
            fix = "give another --out"
            if changed == ["epochs"] and (out / "recognizer").exists():
                fix += f", and --weights {out} to start from its weights: its own schedule has ended"
            raise KinemaError(f"{out}: contains another run, which differs in {', '.join(changed)}; {fix}")
    text = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
    write_videos(out, listed(learned))


def _require_same_videos(out: Path, config: TrainConfig, learned: Manifest, *, moved: bool) -> None:
    """Rejects a resume with other videos than those that the run began with.

    Args:
        out: the run folder.
        config: configuration of the command.
        learned: the training split as it is now.
        moved: True if the data are given by another path than at the beginning.

    Raises:
        KinemaError: the videos differ (the message says how), or they cannot be compared.
    """
    if not moved and (out / "recognizer" / CARD).is_file():
        return
    before = read_videos(out)
    if before is None:
        if moved:
            raise KinemaError(f"{out}: contains another run, which differs in data; give another --out")
        return
    now = listed(learned)
    what = difference(before, now)
    if what is None and moved and not is_proof(before, now):
        what = "none of them can be read to compare it"
    if what is not None:
        raise KinemaError(
            f"{config.data}: the videos or labels of the split {config.train_split!r} have changed since the run in "
            f"{out} began ({what}); restore them, or give another --out"
        )


def _summary(
    config: TrainConfig, manifest: Manifest, learned: Manifest, spec: ClipSpec, out: Path, remarks: list[str]
) -> str:
    lines = [
        f"{config.model}: {plural(len(learned.samples), 'video')} of {len(learned.labels)} classes, clips of "
        f"{plural(spec.frames, 'frame')} at {spec.crop}x{spec.crop}, {plural(config.epochs, 'epoch')}, into {out}",
        *remarks,
        *(f"note: {remark}" for remark in unreached(config.optim, config.epochs)),
        *manifest.remarks,
        *label_remarks(
            learned.shown,
            {s: manifest.split(s).shown for s in manifest.splits if s != config.train_split},
        ),
    ]
    return "\n".join(lines)


def _fit(
    config: TrainConfig, learned: Manifest, checked: Manifest | None, model: VideoModel, spec: ClipSpec, out: Path,
    say: Callable[[str], None], here: Rank,
) -> tuple[Training, Selection]:  # fmt: skip
    accelerator = "auto" if config.device == "auto" else config.device.split(":")[0]
    cuda = torch.cuda.is_available() and accelerator in ("auto", "cuda")
    if config.precision == "16" and not cuda:
        raise KinemaError("precision is 16, which needs a GPU: use bf16 or 32 on a CPU")
    loader, batches = train_loader(learned, learned.labels, spec, config, cuda, here)
    val = None if checked is None else val_loader(checked, learned.labels, spec, config, cuda, here)
    teacher = None if config.distil.teacher is None else Teacher(config.distil, learned.labels, spec)
    module = Training(model, spec, config, batches.steps, fingerprint(learned), teacher)
    absent = learned.all_absent
    if checked is not None and config.val_split != config.train_split:
        absent += checked.all_absent
    if config.multigrid.cycles != "none":
        say("\n".join(describe(batches.steps)))
    if module.sub_batches is not None and module.sub_batches.remark is not None:
        say(f"note: {module.sub_batches.remark}")
    for remark in learning.doubts(model, config):
        say(f"note: {remark}")
    doubt = doubts(config.twins, config.batch, len(learned.labels), processes=here.world)
    if doubt:
        more = "" if config.multigrid.cycles == "none" else " (this applies to the steps at the full shape)"
        say(f"note: {doubt}{more}")
    _quiet()
    selection = Selection(config)
    last = newest(out / "checkpoints", say, tidy=here.first)
    trainer = pl.Trainer(
        accelerator=accelerator,
        **_devices(config, here),
        precision=_PRECISION[config.precision],
        max_epochs=config.epochs,
        gradient_clip_val=config.optim.max_grad_norm or None,
        deterministic=config.deterministic,
        callbacks=[
            selection,
            RunLog(out / "metrics.csv", config.epochs, say, absent),
            Checkpoints(out / "checkpoints", config.checkpoint_steps, batches.steps, last),
        ],
        logger=logger(config, out),
        plugins=[AtomicCheckpointIO()],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    if last:
        epoch, step = done(last)
        say(f"resuming from {last}")
        # Reader processes fetch before Lightning tells the sampler the epoch, and Lightning does not skip batches.
        batches.go_on(epoch, step)
    try:
        with (
            _in_one_sentence(out), _quiet_threads(), together(), room_for_readers(loader.readers),
            denormals_as_zero(),
        ):  # fmt: skip
            trainer.fit(module, loader, val, ckpt_path=last, weights_only=True)
    except BaseException:
        if trainer.strategy.launcher is not None:  # else processes that Lightning has started wait for this one
            trainer.strategy.launcher.kill(getattr(signal, "SIGKILL", signal.SIGTERM))
        raise
    finally:
        loader.close()
        if val is not None:
            val.close()
    return module, selection


@contextmanager
def _in_one_sentence(out: Path) -> Iterator[None]:
    """Turns interrupts, full memory, full disks and too small batches into one-sentence errors."""
    try:
        yield
    except SystemExit as stop:  # Lightning's reaction to Ctrl-C and SIGTERM, the latter with status 0
        raise _interrupted(out) from stop
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"{out}: the memory of the device is full; lower batch, and optim.lr with it, and give another --out"
        ) from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise RunError(
            f"{out}: a BatchNorm received a single value per channel, which has no variance: raise batch, clip.crop or "
            "clip.frames, and give another --out"
        ) from error
    except OSError as error:  # from a logger
        if error.errno not in FULL:
            raise
        raise RunError(
            f"{out}: cannot be written ({reason(error)}); free space and run the same command again to "
            "continue from the newest checkpoint"
        ) from error


def _interrupted(out: Path) -> RunError:
    return RunError(f"{out}: interrupted; run the same command again to continue from the newest checkpoint")


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Hides tracebacks of loggers' threads about a full disk: the training reports it in one sentence."""
    plain = threading.excepthook

    def hook(caught: threading.ExceptHookArgs) -> None:
        if not (isinstance(caught.exc_value, OSError) and caught.exc_value.errno in FULL):
            plain(caught)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = plain


def _devices(config: TrainConfig, here: Rank) -> dict[str, Any]:
    """Returns the arguments of the Trainer for devices, number of nodes and strategy."""
    if ":" in config.device and not config.device.startswith("cpu"):
        if here.world > 1:
            raise KinemaError(
                f"device is {config.device} but processes is {here.world}: give a device without a number"
            )
        return {"devices": [int(config.device.split(":")[1])]}
    if here.world == 1:
        return {"devices": 1}
    local = int(os.environ.get("LOCAL_WORLD_SIZE", here.world))
    return {"devices": local, "num_nodes": here.world // local, "strategy": "ddp"}


def _save(
    config: TrainConfig, learned: Manifest, module: Training, selection: Selection, spec: ClipSpec, out: Path,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    # A file may contain several of the clips.
    expected, failed = len(learned.samples), sum(sample.path in module.failures for sample in learned.samples)
    if module.failures or module.val_failures:
        say(
            f"{failed} training and {len(module.val_failures)} validation videos could not be read; "
            f"{out / LEDGER} lists them"
        )
        if failed >= expected:
            raise RunError(
                f"{config.data}: no video of the split {config.train_split!r} could be read; see {out / LEDGER}"
            )
    rows = read_metrics(out / "metrics.csv")
    read = tuple(sample for sample in learned.samples if sample.path not in module.failures)
    trained = replace(learned, samples=read).shown
    training = {
        "config": config.to_dict(),
        UNTRAINED: [label for label in learned.labels if label not in trained],
        "coverage": {
            "expected": expected,
            "read": expected - failed,
            "failed": failed,
            "absent": len(learned.all_absent),
        },
        "frame_seconds": frame_seconds(learned, spec),
        "last_epoch": rows[-1] if rows else {},
    }
    network = module.result.cpu().eval()

    def save(kept: str, name: str) -> None:
        chosen = selection.card(config, kept, module.val_name)
        card: dict[str, Any] = {"training": training if chosen is None else {**training, SELECTION: chosen}}
        if module.multi_label:
            card["multi_label"] = True
        Recognizer(network, learned.labels, spec, card).save(out / name)

    if config.keep == "best" and selection.best is not None and selection.best.weights is not None:
        save("last", LAST)
        network.load_state_dict(selection.best.weights)
        best = selection.best
        say(
            f"kept: epoch {best.epoch} of {selection.epoch}, the best on {config.val_split!r} "
            f"({module.val_name} {best.value:.1%}); the last epoch is in {out / LAST}"
        )
    save(config.keep, "recognizer")  # written last: it marks the run as finished
    say(f"recognizer saved in {out / 'recognizer'}")


def _silent(line: str) -> None:
    """Prints nothing: replaces `say` in all processes except the first."""


def _quiet() -> None:
    """Hides Lightning's advice about loaders and precision, which would bury the lines of `RunLog`."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
