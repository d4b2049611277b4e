"""A command line, run in this process."""

from __future__ import annotations

import pytest

from kinema.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def sentence(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one sentence with which a command refuses its input."""
    status, out, err = run(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1), (status, out, err)
    return err.removeprefix("kinema: ").strip()
