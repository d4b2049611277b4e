"""The usual names of splits, in any case, and the default splits of a data set."""

from __future__ import annotations

from kinema.data.manifest import Manifest
from kinema.data.split_names import TEST, TRAIN, VALIDATION
from kinema.errors import KinemaError, unknown


def is_training(name: str | None) -> bool:
    """True if a split with this name contains training videos, such as `train` or `Training`."""
    return name is not None and name.lower() in TRAIN


def training_split(manifest: Manifest) -> str | None:
    """Returns the training split of a data set, or None."""
    return next((name for name in manifest.splits if is_training(name)), None)


def split_to_test(manifest: Manifest, asked: str | None = None) -> str:
    """Returns the split to test on.

    Args:
        manifest: the whole data set.
        asked: name of a split, or `all` for every video; None is the first of `test`, `testing`, `val`, `valid` and
            `validation` that the data set has.

    Raises:
        KinemaError: the data set does not have such a split; the message lists those that it has.
    """
    names = manifest.named_splits
    if asked is None:
        lower = {name.lower(): name for name in reversed(names)}
        found = next((lower[usual] for usual in (*TEST, *VALIDATION) if usual in lower), None)
        if found is None:
            raise KinemaError(
                f"{manifest.source} has no split test or val: give one with --split: {', '.join((*names, 'all'))}"
            )
        return found
    if asked != "all" and asked not in names:
        raise unknown(f"split of {manifest.source}", asked, (*names, "all"))
    return asked
