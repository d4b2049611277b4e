"""Label every video in a folder, and count the labels.

    python examples/label_folder.py RECOGNIZER FOLDER OUT

OUT becomes a folder of Parquet files with one row per video, unreadable ones included. If you run the same command
again, it labels only videos that are new or have changed.
"""

from __future__ import annotations

import argparse

import pyarrow.compute as pc

from kinema.labelling import label, read_labels

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recognizer")
    parser.add_argument("folder")
    parser.add_argument("out")
    args = parser.parse_args()

    done = label(args.recognizer, args.folder, args.out, top_k=3)
    print(f"{done.inputs} videos, {done.failed} failed")

    table = read_labels(args.out, ["path", "label", "score", "error"])
    unreadable = pc.is_null(table["label"])
    for row in table.filter(unreadable).to_pylist():
        print(f"{row['path']}: {row['error']}")
    labelled = table.filter(pc.invert(unreadable)).group_by("label")
    for group in labelled.aggregate([("score", "mean"), ("score", "count")]).to_pylist():
        print(f"{group['label']}: {group['score_count']} videos, mean score {group['score_mean']:.2f}")
