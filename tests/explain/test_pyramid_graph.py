"""The graph of a pyramid: nodes and edges, volumes, JSON both ways, and its drawing."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from explain.networks import clip, zoo
from PIL import Image

from kinema.errors import KinemaError
from kinema.explain import class_feature_pyramid
from kinema.explain.interpolate import enlarge, to_unit
from kinema.explain.pyramid.graph import Edge, Node, Pyramid

NODES = (Node("classifier", 1, 0.9), Node("b", 0, 1.0), Node("b", 3, 0.7), Node("a", 2, 1.0))
LINKS = ((0, 1, 1.0), (0, 2, 0.7), (1, 3, 1.0), (2, 3, 0.8))
SIZE = (4, 24, 32)


def made(**changes: object) -> Pyramid:
    maps = {1: torch.rand(2, 3, 4), 2: torch.rand(2, 3, 4), 3: torch.rand(4, 6, 8)}
    whole = Pyramid(NODES, LINKS, (("classifier",), ("b", "c"), ("a",)), 1, 0.6, "feature", "activations", SIZE, maps)
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def test_edges_hold_nodes() -> None:
    pyramid = made()
    assert pyramid.edges[2] == Edge(NODES[1], NODES[3]) and len(pyramid.edges) == len(LINKS)
    assert pyramid.children(NODES[0]) == NODES[1:3]
    assert pyramid.of_layer("b") == NODES[1:3] and pyramid.of_layer("c") == () and pyramid.depth == 2


def test_a_volume_is_the_enlarged_map_of_a_channel() -> None:
    pyramid = made()
    volume = pyramid.volume(NODES[2])
    torch.testing.assert_close(volume, to_unit(enlarge(pyramid.maps[2], SIZE)))
    assert volume.shape == SIZE and volume.min() == 0 and volume.max() == 1


def test_the_volume_of_a_layer_and_of_the_class_is_a_sum() -> None:
    pyramid = made()
    both = to_unit(enlarge(pyramid.maps[1] + pyramid.maps[2], SIZE))
    torch.testing.assert_close(pyramid.layer_volume("b"), both)
    torch.testing.assert_close(pyramid.volume(NODES[0]), both)
    assert not pyramid.layer_volume("c").any()


def test_channels_of_maps_of_different_sizes_are_added_at_the_size_of_the_clip() -> None:
    pyramid = made(links=((0, 1, 1.0), (0, 3, 1.0)))
    expected = to_unit(enlarge(pyramid.maps[1], SIZE) + enlarge(pyramid.maps[3], SIZE))
    torch.testing.assert_close(pyramid.volume(NODES[0]), expected)


def test_a_constant_map_is_zeros() -> None:
    volume = made(maps={1: torch.full((2, 3, 4), 7.0)}).volume(NODES[1])
    assert volume.shape == SIZE and not volume.any()


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("label", [None, "tai chi", 'a "b" <c> é'])
def test_json_both_ways(maps: bool, label: str | None) -> None:
    pyramid = made(label=label)
    again = Pyramid.from_json(pyramid.to_json(maps=maps))
    assert again == pyramid and again.edges == pyramid.edges and again.label == label and again.size == SIZE
    if maps:
        torch.testing.assert_close(again.volume(NODES[1]), pyramid.volume(NODES[1]))
    else:
        with pytest.raises(KinemaError, match="maps=True"):
            again.volume(NODES[1])


def test_json_of_a_network_both_ways() -> None:
    pyramid = class_feature_pyramid(zoo("i3d_v1"), clip(), 1)
    assert Pyramid.from_json(pyramid.to_json()) == pyramid


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.pop("nodes"), "nodes"),
        (lambda d: d.update(nodes=[["a", 1]]), "nodes"),
        (lambda d: d.update(nodes=[["a", -1, 0.5]]), "nodes"),
        (lambda d: d["edges"].append([0, 99, 1.0]), "edges"),
        (lambda d: d["edges"].append([0, -1, 1.0]), "edges"),
        (lambda d: d.update(levels=3), "levels"),
        (lambda d: d.update(size=[1, 2]), "size"),
        (lambda d: d.update(threshold="high"), "threshold"),
        (lambda d: d.update(maps={"99": [[[1.0]]]}), "maps"),
        (lambda d: d.update(maps={"1": [[[1.0], [1.0, 2.0]]]}), "maps"),
        (lambda d: d.update(maps=[1]), "maps"),
        (lambda d: d.update(format=2), "format"),
        (lambda d: d.update(label=3), "label"),
    ],
)
def test_damaged_json_names_the_field(change: object, named: str) -> None:
    document = json.loads(made().to_json())
    change(document)  # type: ignore[operator]
    with pytest.raises(KinemaError, match=f"field {named}"):
        Pyramid.from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "<svg/>"])
def test_what_is_no_pyramid_is_refused(text: str) -> None:
    with pytest.raises(KinemaError, match=r"Pyramid\.to_json"):
        Pyramid.from_json(text)


def test_nodes_and_layers_of_another_pyramid_are_refused() -> None:
    with pytest.raises(KinemaError, match="node is"):
        made().volume(Node("b", 7, 1.0))
    with pytest.raises(KinemaError, match="node is"):
        made().volume("b")  # type: ignore[arg-type]
    with pytest.raises(KinemaError, match="did you mean 'classifier'"):
        made().layer_volume("clasifier")


def tags(svg: str, name: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{name}"))


def pictures(svg: str) -> list[np.ndarray]:
    found = [image.get("href") or "" for image in tags(svg, "image")]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(href.partition(",")[2])))) for href in found]


@pytest.mark.parametrize("label", [None, 'a <b> & "c"', "bad \x00\x1b\udce9 name", "泳ぐ"])
def test_the_drawing_is_one_file_that_any_reader_of_xml_takes(label: str | None) -> None:
    svg = made(label=label).svg()
    svg.encode("utf-8")
    assert len(tags(svg, "path")) == len(LINKS) + 1  # one in the legend
    assert len(pictures(svg)) == len(NODES) + 1
    text = [one.text or "" for one in tags(svg, "text")]
    assert {"b", "a", "3", "0.70", "2 channels", "1 channel", "0 channels", "score 0.90"} <= set(text)
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_a_warning_is_written_whole_inside_the_drawing() -> None:
    plain, svg = made().svg(), made().svg(warning="not to be trusted here: is no better than a <random> map " * 3)
    lines = [one for one in tags(svg, "text") if one.get("fill") == "#a04000"]
    assert " ".join(one.text or "" for one in lines).count("<random>") == 3 and len(lines) > 1
    (root, before) = (ET.fromstring(text) for text in (svg, plain))
    assert float(root.get("height")) > float(before.get("height"))
    assert all(float(one.get("y")) < float(root.get("height")) for one in lines)
    assert not [one for one in tags(plain, "text") if one.get("fill") == "#a04000"]


def test_channels_are_shown_on_the_frame_in_which_they_are_most_active() -> None:
    maps = torch.zeros(4, 6, 8)
    maps[2, 3, 4] = 1.0
    pixels = np.stack([np.full((24, 32, 3), 40 * t, np.uint8) for t in range(4)])
    svg = made(maps={1: maps}, links=LINKS[:1], nodes=NODES[:2]).svg(pixels)
    corner = pictures(svg)[1][0, 0].astype(int)
    assert abs(corner - 80).max() < 30  # frame 2, not 0, 1 or 3, but for a little of the map
    assert made().svg(pixels) != made().svg()


def test_of_many_channels_those_with_the_strongest_way_are_drawn() -> None:
    nodes = (NODES[0], *(Node("b", i, (i + 1) / 40) for i in range(40)))
    links = tuple((0, i + 1, (i + 1) / 40) for i in range(40))
    svg = made(nodes=nodes, links=links, maps={}).svg(most=3)
    text = {one.text for one in tags(svg, "text")}
    assert {"39", "38", "37", "3 of 40 channels", "no map"} <= text and "36" not in text


@pytest.mark.parametrize("most", [0, -1, True, 2.5])
def test_bad_numbers_of_channels(most: object) -> None:
    with pytest.raises(KinemaError, match="most is"):
        made().svg(most=most)  # type: ignore[arg-type]


def test_frames_of_another_clip_are_refused() -> None:
    with pytest.raises(KinemaError, match="pixels has the shape"):
        made().svg(np.zeros((5, 24, 32, 3), np.uint8))


def test_a_pyramid_without_links_is_drawn() -> None:
    svg = made(nodes=NODES[:1], links=(), maps={}).svg()
    assert "score 0.90" in svg
