"""The table of networks that ships as a file is what the networks are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kinema.evaluation.cost import count
from kinema.evaluation.zoo import CLASSES, zoo
from kinema.models import find_model, list_models

FIX = "write the table again: python benchmarks/model_table.py"


def test_every_network_is_in_the_table() -> None:
    assert list(zoo()) == list_models(), FIX
    assert {name: row.paper for name, row in zoo().items()} == {name: find_model(name).paper for name in zoo()}, FIX


# Counting all takes a minute. Of each family the first name is counted here, the others in the slow test.
FIRST = sorted({min(n for n in list_models() if find_model(n).build is find_model(name).build)
                for name in list_models()})  # fmt: skip


@pytest.mark.parametrize("name", FIRST)
def test_the_first_of_each_family_is_as_counted(name: str) -> None:
    assert zoo()[name].to_dict(10) == {
        "model": name, "paper": find_model(name).paper, **count(name, num_classes=10).to_dict()
    }, FIX  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(list_models()) - set(FIRST)))
def test_every_other_network_is_as_counted(name: str) -> None:
    cost = count(name, num_classes=CLASSES)
    assert zoo()[name].to_dict() == {"model": name, "paper": find_model(name).paper, **cost.to_dict()}, FIX


def test_the_table_is_printed_without_torch() -> None:
    code = (
        "import sys; from kinema.cli import main; status = main(['models', 'stm']); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stm_r50" in done.stdout
