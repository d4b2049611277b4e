"""The small recognizer that comes with the page, for a first look: `tools/app_recognizer.py` has trained it."""

from __future__ import annotations

from pathlib import Path

import torch

from kinema.recognizer import Recognizer

NAME = "generated figures"
FOLDER = Path(__file__).with_name("starter")


def shipped_recognizer(device: torch.device | str = "cpu") -> tuple[Recognizer, str]:
    """The recognizer that comes with the page, and a sentence on what it knows.

    Args:
        device: where its network goes.

    Raises:
        KinemaError: its files are damaged.
    """
    recognizer = Recognizer.load(FOLDER, device)
    test = recognizer.card["metrics"]["test"]
    about = (
        f"The recognizer that comes with the page has learned {len(recognizer.labels)} actions of generated figures "
        f"({100 * test['top1']:.0f} % of {test['coverage']['expected']} test clips are right), and knows nothing else: "
        "try the examples. On videos of people its answers mean nothing."
    )
    return recognizer, about
