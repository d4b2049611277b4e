"""One row of the table of labels, and the columns of its Parquet files."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pyarrow as pa

from kinema.labelling.inputs import Entry


@dataclass(frozen=True)
class Row:
    """The result for one input, labelled or not.

    Attributes:
        path: path of the video, as given in the input.
        start: start of the requested part, in seconds; None is the beginning.
        end: end of the requested part, in seconds; None is the end.
        repeat: number of earlier entries in the input for the same part of the same video.
        content_hash: SHA-256 of the file, or of the folder of frames; None if it could not be read.
        card_hash: hash of network, labels, clips and weights of the recognizer (see `network.card_hash`).
        label: the most probable label; None if there is an error.
        score: its softmax score.
        top_labels: the best labels, as many as requested with top-k, best first.
        top_scores: their scores.
        t_start: start of the time span that the scores cover, in seconds from the first frame.
        t_end: end of that span.
        frames_declared: number of frames according to the file; None if it could not be read.
        frames_read: number of different frames in the views.
        stage: the stage that failed: `list` (its line), `find`, `fetch` (an address), `open`, `decode`, `reader` (the
            process that read it crashed, hung or took too much memory), `network` or `cluster`; None if none failed.
        error: why there is no label; None if there is one.
        stamp: shows the next run that the file is unchanged, without reading it; None if only the hash can show it.
        features: the input of the classifier, averaged over the views; None without `features`.
    """

    path: str
    start: float | None
    end: float | None
    repeat: int
    content_hash: str | None
    card_hash: str
    label: str | None = None
    score: float | None = None
    top_labels: tuple[str, ...] | None = None
    top_scores: tuple[float, ...] | None = None
    t_start: float | None = None
    t_end: float | None = None
    frames_declared: int | None = None
    frames_read: int | None = None
    stage: str | None = None
    error: str | None = None
    stamp: str | None = None
    features: tuple[float, ...] | None = None

    @property
    def key(self) -> tuple[str, float | None, float | None, int]:
        """A key that is unique within the table."""
        return (self.path, self.start, self.end, self.repeat)


_TYPES = {
    "repeat": pa.int32(), "start": pa.float64(), "end": pa.float64(), "score": pa.float32(),
    "top_labels": pa.list_(pa.string()), "top_scores": pa.list_(pa.float32()), "t_start": pa.float64(),
    "t_end": pa.float64(), "frames_declared": pa.int64(), "frames_read": pa.int64(),
    "features": pa.list_(pa.float32()),
}  # fmt: skip


def schema(*, features: bool) -> pa.Schema:
    """Returns the columns of a table, with or without embeddings."""
    names = [field.name for field in fields(Row) if features or field.name != "features"]
    return pa.schema([(name, _TYPES.get(name, pa.string())) for name in names])


def to_table(rows: list[Row], columns: pa.Schema) -> pa.Table:
    """Returns rows as a table."""
    return pa.table({name: [getattr(row, name) for row in rows] for name in columns.names}, schema=columns)


def failed_row(entry: Entry, card_hash: str, stage: str, error: str, content_hash: str | None = None) -> Row:
    """Returns the row of an input that has no label."""
    return Row(*entry.key, content_hash, card_hash, stage=stage, error=error)
