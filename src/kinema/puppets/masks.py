"""`limb_masks`: pixels of the acting limbs in a generated clip, to judge what a network looks at."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from kinema.errors import KinemaError, unknown
from kinema.puppets.actions import ACTIONS, LABELS
from kinema.puppets.clips import SPLITS, Scene, draw_scene
from kinema.puppets.dataset import COMPLETE, EDITION, ClipJob
from kinema.puppets.figure import PARTS
from kinema.puppets.stage import Frames
from kinema.text import parse_json


def limb_masks(clip: str | Path, *, parts: Collection[str] | None = None) -> Frames:
    """Returns the pixels of a puppet clip that show the acting limbs, computed from the seed of the data set.

    Args:
        clip: a file written by `generate`, still in its folder; its pixels are not read.
        parts: some of `kinema.puppets.figure.PARTS`; None means the acting limbs.

    Returns:
        bool `T H W` for all frames of the file. Pixels hidden by another limb, an object or a passer-by are not set. A
        pixel is set if at least half of it shows the limb.

    Raises:
        KinemaError: the file is not a puppet clip, or the actor does not have such a part.
    """
    for part in parts or ():
        if part not in PARTS:
            raise unknown("part of the actor", part, PARTS)
    scene, backwards = _scene(Path(clip))
    mask = scene.mask(parts)
    return mask[::-1] if backwards else mask


def is_puppet(clip: str | Path) -> bool:
    """True if a file is where `generate` writes its clips, so that `limb_masks` can be used."""
    return (Path(clip).absolute().parent.parent.parent / COMPLETE).is_file()


def _scene(clip: Path) -> tuple[Scene, bool]:
    """Returns the scene of a clip, and True if the file shows it backwards."""
    path = clip.absolute()
    folder, (split, label, name) = path.parent.parent.parent, path.parts[-3:]
    try:
        parameters = parse_json((folder / COMPLETE).read_text(encoding="utf-8"))
        edition, seed, size = (int(parameters[key]) for key in ("edition", "seed", "size"))
        count = int(parameters[split])
        number = int(Path(name).stem)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KinemaError(
            f"{clip}: not a clip of the puppets; give a file below a folder that `kinema data puppets` has written"
        ) from error
    if edition != EDITION:
        raise KinemaError(
            f"{folder / COMPLETE}: has edition {edition}, but {EDITION} is needed; generate the puppets again"
        )
    if split not in SPLITS or label not in LABELS or not 0 <= number < count:
        raise KinemaError(f"{clip}: the puppets in {folder} have no such clip; give a path of its manifest.csv")
    action = next(i for i, a in enumerate(ACTIONS) if label in a.labels)
    job = ClipJob(str(folder), seed, split, action, number, size)
    scene = draw_scene(job.generator(), ACTIONS[action], split, number, size)
    return scene, label != ACTIONS[action].label
