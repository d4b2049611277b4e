"""`kinema timeline RECOGNIZER --calibrate DATA` and `--data DATA`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from kinema.cli.arguments import read_limits
from kinema.cli.output import print_facts, print_json
from kinema.progress import progress_bar
from kinema.text import plural, printable

if TYPE_CHECKING:
    from kinema.data.manifest import Manifest
    from kinema.evaluation.segments import Figure, SegmentMetrics
    from kinema.recognizer import Recognizer
    from kinema.streaming.calibration import WatchedFilm
    from kinema.streaming.timelines import SegmentSettings


def on_labelled_films(args: Namespace, recognizer: Recognizer, settings: SegmentSettings) -> int:
    """Sets thresholds with `--calibrate` and measures with `--data`; returns 1 if a video could not be read."""
    from kinema.data.manifest import data_name, read_manifest
    from kinema.data.splits import split_to_test
    from kinema.streaming.calibration import calibrate, calibration_split, measure_films

    assert settings.sight is not None
    failed: list[tuple[str, str]] = []
    result: dict[str, Any] = {}
    tested = args.data
    if args.calibrate is not None:
        manifest = read_manifest(args.calibrate)
        split = calibration_split(manifest, args.split if args.data is None else None)
        watched = _watched(args, recognizer, manifest.part(split), settings, failed)
        with progress_bar("trying thresholds") as progress:
            settings = calibrate(
                watched, recognizer.labels, settings.sight, background=settings.background,
                source=data_name(args.calibrate), split=split, progress=progress,
            )  # fmt: skip
        _store(args.recognizer, settings)
        result["calibration"] = settings.to_dict()
        if tested is None and split != "all" and split_to_test(manifest, None) not in (split, "all"):
            tested = args.calibrate
    if tested is not None:
        manifest = read_manifest(tested)
        split = split_to_test(manifest, args.split if args.data is not None else None)
        watched = _watched(args, recognizer, manifest.part(split), settings, failed)
        metrics = measure_films(watched, recognizer.labels, settings)
        result["test"] = {"data": data_name(tested), "split": split, **settings.to_dict(), **metrics.to_dict()}
    if args.json:
        print_json({**result, "unreadable": [{"path": path, "reason": reason} for path, reason in failed]})
    else:
        _print_figures(settings, result, None if tested is None else metrics)
    for path, reason in failed:
        print(printable(f"unreadable: {path}: {reason}"), file=sys.stderr)
    return 1 if failed else 0


def _watched(
    args: Namespace,
    recognizer: Recognizer,
    manifest: Manifest,
    settings: SegmentSettings,
    failed: list[tuple[str, str]],
) -> list[WatchedFilm]:
    from kinema.streaming.calibration import labelled_films, watch_films

    assert settings.sight is not None
    films = labelled_films(manifest, recognizer.labels, settings.background)
    with progress_bar("reading videos") as progress:
        watched = watch_films(
            recognizer, films, settings.sight, workers=args.workers, limits=read_limits(args), progress=progress
        )
    failed += [(film.path, film.error) for film in watched if film.error is not None]
    return watched


def _store(source: str, settings: SegmentSettings) -> None:
    from kinema.card import CARD, add_to_card
    from kinema.streaming.timelines import SEGMENTS
    from kinema.weights.saved import find_folder

    add_to_card(find_folder(source) / CARD, SEGMENTS, settings.to_dict())


def _print_figures(settings: SegmentSettings, result: dict[str, Any], metrics: SegmentMetrics | None) -> None:
    assert settings.sight is not None
    rule, on = settings.rule, settings.set_on
    facts = {
        "looks": settings.sight.describe(),
        "rule": f"threshold {rule.threshold:g}, release {rule.release:g}, shortest {rule.shortest:g} s, smoothing "
        f"{rule.smoothing:g} s, lag {rule.lag:g} s",
    }
    if settings.background:
        facts["background"] = ", ".join(settings.background)
    if on:
        facts["set on"] = (
            f"{on.get('data')}, split {on.get('split')}: {on.get('films')} videos with {on.get('actions')} actions; "
            f"F1 {on.get('f1')} and mAP {on.get('map')} at tIoU 0.5 there"
        )
    if "calibration" in result:
        facts["stored"] = "in the card, where kinema timeline and kinema stream --segments read it"
    if metrics is not None:
        test = result["test"]
        facts["measured on"] = (
            f"{test['data']}, split {test['split']}: {plural(metrics.expected, 'video')} expected, "
            f"{metrics.read} read, {metrics.expected - metrics.read} failed; "
            f"{metrics.hours * 60:.1f} minutes, {metrics.actions} actions, "
            f"{plural(metrics.segments, 'segment')} found"
        )
        for overlap, figure in metrics.map.items():
            facts[f"mAP at tIoU {overlap:g}"] = _figure(figure, 3)
        precision = "–" if metrics.precision is None else f"{metrics.precision:.3f}"
        facts["at tIoU 0.5"] = f"precision {precision}, recall {metrics.recall:.3f}, F1 {metrics.f1:.3f}"
        facts["delay"] = (
            f"{_figure(metrics.delay, 2)} s from onset to label, median over the {metrics.labelled:.0%} of the actions "
            "that received a label"
        )
        facts["false alarms"] = f"{_figure(metrics.false_alarms, 1)} per hour"
    print_facts({key: printable(value) for key, value in facts.items()})


def _figure(figure: Figure, digits: int) -> str:
    if figure.value is None:
        return "–"
    text = f"{figure.value:.{digits}f}"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
