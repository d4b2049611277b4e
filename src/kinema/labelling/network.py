"""From views to rows: all batches have the same size, so the scores of a video do not depend on its neighbours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kinema.data.transforms import to_input
from kinema.errors import RunError
from kinema.labelling.inputs import Entry
from kinema.labelling.reading import settle
from kinema.labelling.rows import Row, failed_row
from kinema.recognizer import Recognizer
from kinema.text import printable


def card_hash(recognizer: Recognizer) -> str:
    """Returns the SHA-256 of what the labels depend on: network and options, labels, clips and weights.

    Later additions to a card, such as the figures of a test, do not change it.
    """
    card = {
        "architecture": recognizer.model.architecture,
        "labels": recognizer.labels,
        "clip": recognizer.spec.to_dict(),
    }
    hashed = hashlib.sha256(json.dumps(card, sort_keys=True, default=str).encode())
    for name, tensor in sorted(recognizer.model.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        hashed.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        hashed.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()


class Labeller:
    """A network that makes rows from the results of readers.

    Args:
        recognizer: the trained network.
        top_k: number of labels per row.
        features: also return the input of the classifier.
        batch: views per forward pass; the last batch is filled up to this size.
        card: its `card_hash`, if it is known.
    """

    def __init__(
        self, recognizer: Recognizer, *, top_k: int, features: bool, batch: int, card: str | None = None
    ) -> None:
        self._recognizer, self._features, self._batch = recognizer, features, batch
        self.options = {"top_k": top_k, "features": features, "batch": batch}
        self._top_k = min(top_k, len(recognizer.labels))
        self._labels = tuple(map(printable, recognizer.labels))
        self.card_hash = card or card_hash(recognizer)
        recognizer.model.eval()

    def rows(self, entries: Sequence[Entry], found: Sequence[dict[str, Any]], views: Tensor | None) -> list[Row]:
        """Returns the rows of a group of entries.

        Args:
            entries: the inputs.
            found: the sample of `EntryViews` for each, without the pixels.
            views: uint8 N V T H W 3, of the readable entries in their order; None if there are none.
        """
        labelled = iter(() if views is None else zip(*self._scores(views), strict=True))
        rows = []
        for entry, facts in zip(entries, found, strict=True):
            if "span" not in facts:
                rows.append(self._failed(entry, settle(entry, facts)))
                continue
            rows.append(self._row(entry, facts, *next(labelled)))
        return rows

    def _failed(self, entry: Entry, facts: dict[str, Any]) -> Row:
        known = {name: facts[name] for name in ("stamp", "frames_declared", "frames_read") if name in facts}
        return Row(
            *entry.key,
            facts.get("content_hash"),
            self.card_hash,
            stage=facts["stage"],
            error=printable(facts["error"]),
            **known,
        )

    def _row(self, entry: Entry, facts: dict[str, Any], scores: Tensor, embedding: Tensor) -> Row:
        if not bool(torch.isfinite(scores).all() and torch.isfinite(embedding).all()):
            why = "the scores of the network are not numbers: check its weights"
            return failed_row(entry, self.card_hash, "network", why, facts["content_hash"])
        best = scores.topk(self._top_k)
        labels = tuple(self._labels[i] for i in best.indices.tolist())
        span = (entry.start, entry.end) if entry.window else facts["span"]
        path, start, end, repeat = entry.key
        return Row(
            path=path, start=start, end=end, repeat=repeat, content_hash=facts["content_hash"],
            card_hash=self.card_hash, label=labels[0], score=best.values[0].item(), top_labels=labels,
            top_scores=tuple(best.values.tolist()), t_start=span[0], t_end=span[1],
            frames_declared=facts["frames_declared"], frames_read=facts["frames_read"], stamp=facts["stamp"],
            features=tuple(embedding.tolist()) if self._features else None,
        )  # fmt: skip

    @torch.inference_mode()
    def _scores(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Returns scores N K and embeddings N F (N 0 without `features`), averaged over the views."""
        count, each = views.shape[:2]
        passes = [self._pass(chunk) for chunk in views.flatten(0, 1).split(self._batch)]
        scores, embeddings = (
            torch.cat(parts).unflatten(0, (count, each)).mean(1) for parts in zip(*passes, strict=True)
        )
        return scores, embeddings

    def _pass(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        recognizer, count = self._recognizer, len(clips)
        if count < self._batch:
            clips = torch.cat([clips, clips[-1:].expand(self._batch - count, *clips.shape[1:])])
        try:
            x = to_input(clips.to(recognizer.device), recognizer.spec)
            if not self._features:
                scores = recognizer.model(x).float().softmax(1).cpu()
                return scores[:count], scores.new_empty(count, 0)
            features = recognizer.model.forward_features(x)
            embedding = recognizer.model.forward_head(features, pre_logits=True).float().cpu()
            logits = recognizer.model.forward_head(features)
        except torch.OutOfMemoryError as error:
            raise RunError(f"--batch {self._batch}: the device has too little memory; give a smaller batch") from error
        return logits.float().softmax(1).cpu()[:count], embedding[:count]
