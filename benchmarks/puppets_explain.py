"""Faithfulness of explanations on puppets: STM-18 and r3d-34, trained and untrained, at 112 pixels.

    .venv/bin/python benchmarks/puppets_explain.py OUT [--seeds 3] [--epochs 12] [--train 45] [--clips 96]
                                                       [--baseline blur] [--device auto]

Each network is trained as in `study.py` (runs that are finished are not trained again) and checked on `--clips` clips
of `test`, drawn evenly over the classes: tubes and class activation of the last stage, Grad-CAM of the last three
stages, the random map and the centre bias. Deletion and insertion follow the class that the network predicts; pointing
and mass refer to the masks of the limbs that act. Each figure has its 95 % bootstrap interval over the clips. Rank
correlations are with the map of the network after shuffling its weights (`untrained`) and with the map of the second
class (`other`). An untrained network has random weights, and BatchNorm statistics from the clips: what a method finds
in it comes from the pictures. All results are also written to OUT/explain.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from study import arguments, puppets
from torch import Tensor, nn

from kinema.data.transforms import Augment
from kinema.explain.checks import Check, check, read_clips
from kinema.explain.gradcam import grad_cam
from kinema.explain.randomise import measure_statistics
from kinema.explain.sanity import MapOf
from kinema.explain.tubes import saliency_tubes
from kinema.models import create_model
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train

NETWORKS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "STM-18": ("stm_r18", 8, {"width": 0.25}),
    "r3d-34": ("r3d_34", 16, {"width": 0.125}),
}
STAGES = ("layer2", "layer3", "layer4")


def tube(style: str) -> MapOf:
    """Returns the tube of the last stage."""
    return lambda model, clip, target: saliency_tubes(model, clip, target, style=style)


def gradcam(layer: str) -> MapOf:
    """Returns Grad-CAM of one stage."""
    return lambda model, clip, target: grad_cam(model, clip, target, layer=layer)


METHODS: Mapping[str, tuple[MapOf, str | None]] = {
    "tube": (tube("tube"), STAGES[-1]),
    "cam": (tube("cam"), STAGES[-1]),
    **{f"gradcam {layer}": (gradcam(layer), layer) for layer in STAGES},
}


def trained(args: argparse.Namespace, data: Path, title: str, seed: int) -> Recognizer:
    """Returns one network of the study after its training."""
    name, frames, options = NETWORKS[title]
    config = TrainConfig(
        name, str(data), options=options,
        clip={"frames": frames, "sampler": "segments", "short_side": args.crop + 8, "crop": args.crop},
        epochs=args.epochs, batch=24, optim=Optim(lr=0.05, nesterov=True, warmup=1.0),
        augment=Augment(scale="jitter", jitter=(args.crop, args.crop + 16)), logger="none",
    )  # fmt: skip
    out = args.out / f"{title}-{args.crop}-{seed}"
    return Recognizer.load(train(replace(config, out=str(out), seed=seed), say=lambda line: None), args.device)


def untrained(recognizer: Recognizer, clips: Tensor, seed: int) -> Recognizer:
    """Returns the same network with random weights."""
    torch.manual_seed(1000 + seed)
    architecture = recognizer.model.architecture
    model: nn.Module = create_model(architecture["name"], **architecture["options"]).to(recognizer.device).eval()
    measure_statistics(model, clips.to(recognizer.device), batch=16)
    return replace(recognizer, model=model)


def rows(title: str, seed: int, found: Check) -> list[str]:
    """Returns one line per method."""
    lines = []
    for name, row in found.faithfulness.rows.items():
        figures = (row.gain, row.over_random, row.over_centre, row.pointing, row.mass)
        text = "".join(f"{'–' if f is None else str(f):>23}" for f in figures)
        sane = found.sanity.get(name)
        text += f"{sane.untrained.mean:>10.2f}{sane.other_class.mean:>7.2f}" if sane else f"{'':>17}"
        verdict = found.verdicts.get(name)
        text += "" if verdict is None else "  passed" if verdict.passed else f"  {'; '.join(verdict.reasons)}"
        lines.append(f"{title:<18}{seed:>4}  {name:<16}{text}")
    return lines


def main() -> None:
    args = arguments(__doc__, clips=96, crop=112, steps=10, baseline="blur", device="auto")
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    data, _ = puppets(args)
    print(f"{'':<18}{'seed':>4}  {'':<16}{'insertion - deletion':>23}{'over random':>23}{'over centre':>23}"
          f"{'pointing':>23}{'mass':>23}{'untrained':>10}{'other':>7}  verdict", flush=True)  # fmt: skip
    kept: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        for title in NETWORKS:
            recognizer = trained(args, data, title, seed)
            clips = read_clips(recognizer, data, clips=args.clips, split="test", seed=seed).clips
            for state, one in ((title, recognizer), (f"{title} untrained", untrained(recognizer, clips, seed))):
                found = check(
                    one, data, METHODS, clips=args.clips, split="test", baseline=args.baseline, steps=args.steps,
                    seed=seed, batch=32,
                )  # fmt: skip
                print("\n".join(rows(state, seed, found)), flush=True)
                kept.append({"network": state, "seed": seed, **found.to_dict()})
                (args.out / "explain.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    print(f"\n{means(kept)}")


def means(kept: list[dict[str, Any]]) -> str:
    """Returns the table of benchmarks/README.md: means, and the number of seeds with an interval above 0."""
    lines = [
        "| network | seeds | map | ins - del | over centre | pointing | mass | beats random | beats centre |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for state in dict.fromkeys(entry["network"] for entry in kept):
        mine = [entry["faithfulness"]["rows"] for entry in kept if entry["network"] == state]
        for name in mine[0]:
            rows = [row[name] for row in mine]
            cells = [mean(rows, "gain", 3), mean(rows, "over_centre", 3), mean(rows, "pointing", 2)]
            cells += [mean(rows, "mass", 3), above(rows, "over_random"), above(rows, "over_centre")]
            lines.append(f"| {state} | {len(rows)} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean(rows: list[dict[str, Any]], key: str, digits: int) -> str:
    return f"{np.mean([row[key]['mean'] for row in rows]):.{digits}f}" if rows[0][key] else "–"


def above(rows: list[dict[str, Any]], key: str) -> str:
    return f"{sum(row[key]['low'] > 0 for row in rows)} of {len(rows)}" if rows[0][key] else "–"


if __name__ == "__main__":
    main()
