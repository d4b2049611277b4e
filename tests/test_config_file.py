"""One reader of YAML files: what a person can do wrong is one sentence that names the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kinema
from kinema.config_file import CONFIG, read_run_config, read_yaml
from kinema.errors import KinemaError


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"model: [a\nb: c\n", "not YAML in line 2"),
        (b"a: 1\nb:\n  c: 1\n  c: 2\n", "not YAML in line 4 (c is given twice)"),
        (b"[a]: b\n", "not YAML in line 1"),
        (b"a: 2020-13-45\n", "not YAML"),
        (b"a: \x00\n", "not YAML"),
        (b"? 2020-01-01\n: 3\n", "the name of a field is not plain text"),
        (b"a: &x [*x]\n", "contains itself"),
        (b"a: &x {b: *x}\n", "contains itself"),
        (b"a: " + b"[" * 3000, "not YAML"),
        (b"a: \xff\n", "not UTF-8 (byte 3)"),
        ("a: 1\n".encode("utf-16"), "not UTF-8"),
        (b"- a\n", "has no fields"),
        (b"", "has no fields"),
        (b"just text", "has no fields"),
    ],
)
def test_a_damaged_file_is_one_sentence_with_its_name_and_the_fix(tmp_path: Path, data: bytes, told: str) -> None:
    file = tmp_path / CONFIG
    file.write_bytes(data)
    for read in (lambda: read_yaml(file, "restore it"), lambda: read_run_config(tmp_path)):
        with pytest.raises(KinemaError) as caught:
            read()
        sentence = str(caught.value)
        assert sentence.startswith(f"{file}: ")
        assert told in sentence
        assert sentence.endswith("restore it")
        assert "\n" not in sentence


def test_what_is_right_is_read(tmp_path: Path) -> None:
    assert read_run_config(tmp_path) is None
    (tmp_path / CONFIG).write_bytes("\ufeffmodel: caf\u00e9\nsince: 2020-01-02\nclip: {frames: 4}\n".encode())
    found = read_run_config(tmp_path)
    assert found is not None
    assert (found["model"], found["clip"]) == ("caf\u00e9", {"frames": 4})
    assert read_yaml(tmp_path / CONFIG) == found
    with pytest.raises(KinemaError, match=r"gone\.yaml: cannot be read"):
        read_yaml(tmp_path / "gone.yaml")
    with pytest.raises(KinemaError, match="cannot be read"):
        read_yaml(tmp_path)


def test_one_module_parses_yaml() -> None:
    package = Path(kinema.__file__).parent
    reading = {p.name for p in package.rglob("*.py") if re.search(r"yaml\.(safe_)?load\(", p.read_text("utf-8"))}
    assert reading == {"config_file.py"}
