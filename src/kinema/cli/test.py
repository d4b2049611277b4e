"""`kinema test RECOGNIZER --data D`."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, add_json, add_reading, add_recognizer, check_reading, device, read_limits
from kinema.cli.output import print_facts
from kinema.errors import KinemaError, RunError, unknown
from kinema.progress import progress_bar
from kinema.text import printable

if TYPE_CHECKING:
    from kinema.clip_spec import ClipSpec
    from kinema.data.manifest import Manifest
    from kinema.evaluation.metrics import Metrics
    from kinema.evaluation.runner import TestResult
    from kinema.processes import Rank
    from kinema.recognizer import Recognizer

SHOWN = 20  # failed files that a person sees; the ledger holds all
_DEFAULT_SPLITS = ("test", "testing", "val", "valid", "validation")


def add_arguments(parser: ArgumentParser) -> None:
    """RECOGNIZER, the data and the protocol."""
    add_recognizer(parser)
    parser.add_argument(
        "--data", type=str, required=True, help="a folder with one sub-folder a class, a CSV, or CATALOGUE:FOLDER"
    )
    parser.add_argument("--split", type=str | None, default=None, help="a split or `all`; default: test, else val")
    parser.add_argument("--views", type=str, default="1x1", help="CLIPSxCROPS of every video; crops are 1 or 3")
    parser.add_argument("--out", type=str | None, default=None, help="folder for the result; default: test-SPLIT in "
                        "the run folder, else test-RECOGNIZER-SPLIT here")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the files of another test in --out")
    add_reading(parser)
    parser.add_argument("--batch", type=int, default=8, help="views in one pass of the network")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if any video could not be read")
    parser.add_argument("--explain-views", action="store_true", help="draw the views of the first video; test nothing")
    add_device(parser)
    add_json(parser)


def run(args: Namespace) -> None:
    """Tests, writes the files, prints the figures; of several processes only the first writes and prints."""
    from kinema.processes import connected

    with connected() as here:
        _run(args, here)


def _run(args: Namespace, here: Rank) -> None:
    from kinema.data.datasets import label_indices
    from kinema.data.manifest import read_manifest
    from kinema.data.views import parse_views
    from kinema.evaluation.results import Test, document, require_free, write_results
    from kinema.evaluation.runner import evaluate
    from kinema.evaluation.views import explain
    from kinema.recognizer import Recognizer

    views = parse_views(args.views)
    check_reading(args)
    recognizer = Recognizer.load(args.recognizer, here.device(device(args.device)))
    manifest = read_manifest(args.data, check=False)  # a file that is gone belongs into the ledger
    split = _split(manifest, args.split)
    tested = manifest.part(split)
    if args.explain_views:
        if here.first:
            print(printable(explain(tested, recognizer.spec, *views)))
        return
    label_indices(tested, recognizer.labels)
    test = Test(args.recognizer, args.data, split, f"{views[0]}x{views[1]}")
    out = Path(args.out) if args.out else _default_out(args.recognizer, split)
    if here.first:
        require_free(out, test, overwrite=args.overwrite)
        for remark in [*manifest.remarks, *_trained_on(recognizer, args.data, split)]:
            print(f"note: {printable(remark)}", file=sys.stderr)
        for line in _label_remarks(recognizer, manifest, tested, args.data, split):
            print(printable(line), file=sys.stderr)
    with progress_bar("testing videos") if here.first else nullcontext() as progress:
        result = evaluate(
            recognizer, tested, views=views, workers=args.workers, batch=args.batch,
            limits=read_limits(args), train_labels=_train_labels(manifest, split), progress=progress,
        )  # fmt: skip
    if not here.first:
        return
    write_results(out, result, recognizer, test)
    if args.json:
        whole = document(result, recognizer, test) | {"out": str(out)}
        print(printable(json.dumps(whole, indent=2, ensure_ascii=False)))
    else:
        print(printable(f"{args.recognizer} on {args.data}, split {split}"))
        print_facts(_facts(result, recognizer.spec) | {"files": f"{out}: metrics.json, scores.parquet, ledger.csv"})
        _print_failures(result, out)
    coverage = result.metrics.coverage
    if args.strict and coverage.failed:
        raise RunError(f"{coverage.failed} of {coverage.expected} videos could not be read; see {out / 'ledger.csv'}")


def _split(manifest: Manifest, asked: str | None) -> str:
    names = manifest.named_splits
    if asked is None:
        found = [name for name in _DEFAULT_SPLITS if name in names]
        if not found:
            raise KinemaError(
                f"{manifest.source} has no split test or val: name one with --split: {', '.join((*names, 'all'))}"
            )
        return found[0]
    if asked != "all" and asked not in names:
        raise unknown(f"split of {manifest.source}", asked, (*names, "all"))
    return asked


def _train_labels(manifest: Manifest, split: str) -> list[str] | None:
    if split == "all":
        return None
    return [s.label for s in manifest.samples if s.split in ("train", "training") and s.split != split] or None


def _default_out(recognizer: str, split: str) -> Path:
    name = f"test-{split.replace('/', '-')}"
    if (Path(recognizer) / "recognizer").is_dir():
        return Path(recognizer) / name
    return Path(f"test-{Path(recognizer.removeprefix('hf-hub:')).resolve().name}-{name.removeprefix('test-')}")


def _trained_on(recognizer: Recognizer, data: str, split: str) -> list[str]:
    """A warning where the card says that the tested videos were trained on."""
    if _is_of(recognizer, data) and split in ("all", _config(recognizer).get("train_split")):
        return [f"split {split} holds videos that this recognizer was trained on: the figures say little about others"]
    return []


def _config(recognizer: Recognizer) -> dict[str, Any]:
    training = recognizer.card.get("training")
    return training.get("config", {}) if isinstance(training, dict) else {}


def _is_of(recognizer: Recognizer, data: str) -> bool:
    """Whether a recognizer was trained on these data."""
    from kinema.data.manifest import data_place

    config = _config(recognizer)
    return "data" in config and data_place(config["data"]) == data_place(data)


def _label_remarks(recognizer: Recognizer, manifest: Manifest, tested: Manifest, data: str, split: str) -> list[str]:
    """Labels of which the recognizer has seen no video, as far as its card tells or the data that it was trained on."""
    from kinema.data.label_remarks import UNTRAINED, label_remarks, training_split

    training = recognizer.card.get("training")
    untrained = training.get(UNTRAINED) if isinstance(training, dict) else None
    own = training_split(manifest)
    if isinstance(untrained, list):
        trained = set(recognizer.labels).difference(untrained)
    elif own is not None and own != split and _is_of(recognizer, data):
        trained = {sample.label for sample in manifest.split(own).samples}
    else:
        return []
    return label_remarks(trained, {split: {sample.label for sample in tested.samples}})


def _facts(result: TestResult, spec: ClipSpec) -> dict[str, str]:
    from kinema.data.samplers import find_sampler

    m, k = result.metrics, len(result.labels)
    unread = f"; {m.coverage.failed} unreadable counted as wrong" if m.coverage.failed else ""
    low, high = m.top1_interval
    side = spec.test_crop or spec.crop
    stride = "" if find_sampler(spec.sampler).whole else f" every {spec.stride}"
    scaled = "" if side == spec.tested else f" scaled to {spec.tested}"
    fused = "" if result.views.clips * result.views.crops == 1 else ", softmax scores averaged over the views"
    return {
        "top-1": f"{m.top1:6.1%}  95 % interval {low:.1%} to {high:.1%} (bootstrap over videos{unread})",
        f"top-{m.k}": f"{m.topk:6.1%}" + (f"  (of {k} labels: says nothing)" if m.k == k else ""),
        "mean class": f"{m.mean_class:6.1%}  mean recall of "
        + (f"all {k} classes" if m.classes_tested == k else f"the {m.classes_tested} of {k} classes that occur"),
        "majority": f"{m.majority.share:6.1%}  {_majority(m)}",
        "coverage": str(m.coverage),
        "views": str(result.views),
        "protocol": f"{spec.frames} frames{stride} ({spec.sampler}), crop {side} of short side {spec.short_side}"
        f"{scaled}{fused}",
    }


def _print_failures(result: TestResult, out: Path) -> None:
    for path, reason in result.failures[:SHOWN]:
        print(printable(f"unreadable: {path}: {reason}"))
    if len(result.failures) > SHOWN:
        print(f"… and {len(result.failures) - SHOWN} more, see {out / 'ledger.csv'}")


def _majority(m: Metrics) -> str:
    text = f"always naming {m.majority.label!r}"
    train = m.train_majority
    if train is not None and train.label != m.majority.label:
        text += f" (always naming {train.label!r}, the most frequent label in training: {train.share:.1%})"
    return text
