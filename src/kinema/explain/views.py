"""Attention and features as methods of `explain`: maps of a stage that do not depend on the class."""

from __future__ import annotations

from typing import Any

from kinema.explain.activations import record
from kinema.explain.attention import attention_map
from kinema.explain.class_weights import default_layer
from kinema.explain.features import strongest_channels
from kinema.explain.interpolate import enlarge, to_unit
from kinema.explain.methods import Asked, Finding, Findings, register
from kinema.explain.tubes import clip_size


@register("attention")
def _attention(asked: Asked) -> Findings:
    """Returns one map; attention does not depend on the class, so only the first class is given."""
    logits, _ = record(asked.model, asked.clip, [])
    name = default_layer(asked.model) if asked.layer is None else asked.layer
    target = asked.choose(logits)[0]
    return logits, [Finding(target, attention_map(asked.model, asked.clip, target, layer=name).cpu(), name)]


@register("features", ["count"])
def _features(asked: Asked) -> Findings:
    """Returns one map per channel, for the channels that vary most over the clip; only the first class is given."""
    return _strongest(asked, **asked.options)


def _strongest(asked: Asked, count: Any = 3) -> Findings:
    logits, _ = record(asked.model, asked.clip, [])
    name = default_layer(asked.model) if asked.layer is None else asked.layer
    target, size = asked.choose(logits)[0], clip_size(asked.clip)
    return logits, [
        Finding(target, to_unit(enlarge(one.map, size)), f"{name}, channel {one.channel}", {"channel": one.channel})
        for one in strongest_channels(asked.model, asked.clip, name, count)
    ]
