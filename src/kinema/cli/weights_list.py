"""`kinema weights list [PATTERN]`."""

from __future__ import annotations

from itertools import groupby

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import print_facts, print_json, print_table
from kinema.errors import KinemaError
from kinema.weights.releases import Release, how_to_get, list_releases


def add_arguments(parser: ArgumentParser) -> None:
    """Adds PATTERN, which is matched against the text of a row."""
    about = "part of the name of a release, network, project or data set, or a shell pattern"
    parser.add_argument("pattern", nargs="?", type=str, default="*", help=about)
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints the releases that match; if there is only one, all its details."""
    found = list_releases(args.pattern)
    exact = [release for release in found if release.name == args.pattern]
    found = exact or found
    if not found:
        raise KinemaError(f"no release matches {args.pattern!r}: `kinema weights list` lists all")
    if args.json:
        print_json([release.to_dict() for release in found])
    elif len(found) == 1:
        _details(found[0])
    else:
        _tables(found)


def _tables(found: list[Release]) -> None:
    for (project, licence, page), rows in groupby(found, lambda r: (r.project, r.licence, _root(r.page))):
        print(f"{project} · {licence} · {page}")
        print_table(
            ["release", "network", "data", "top-1", "views"],
            [
                [
                    r.name + (" *" if r.local() else "" if r.address else " +"),
                    r.model,
                    r.data,
                    _percent(r.top1),
                    r.views or "–",
                ]
                for r in rows
            ],
        )
    print("top-1: as published, for these views (clips x crops)")
    print("*: on this machine; +: must be downloaded by hand")
    print("`kinema weights list RELEASE` shows all details of a release")


def _details(release: Release) -> None:
    path = release.local()
    facts = {
        "release": release.name,
        "project": release.project,
        "page": release.page,
        "licence": release.licence,
        "network": " ".join([release.model, *(f"{k}={v}" for k, v in release.options.items())]),
        "fits": ", ".join([release.model, *release.fits]),
        "clips": ", ".join(f"{k}={v}" for k, v in release.clip.items()) or "the network's default",
        "data": f"{release.data}, {release.classes} classes",
        "labels": release.labels or "order not published",
        "top-1": f"{_percent(release.top1)} ({release.views})" if release.views else _percent(release.top1),
        "top-5": _percent(release.top5),
        "address": release.address or f"none that a program can download; the file is called {release.file}",
        "sha256": f"{release.sha256}…" if release.sha256 else "not published",
        "here": path or f"no; {how_to_get(release)}",
    }
    print_facts(facts)


def _root(page: str) -> str:
    """Returns the repository or site of a page; its rows are grouped into one table."""
    return "/".join(page.removeprefix("https://").split("/")[:3])


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
