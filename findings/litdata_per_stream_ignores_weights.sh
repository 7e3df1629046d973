#!/usr/bin/env bash
# litdata 0.2.76, CombinedStreamingDataset(batching_method="per_stream"), where every batch is of one dataset: the
# weights are all but ignored. After each batch the next dataset is drawn by weight, again and again until it is another
# one than the last: no dataset ever has two batches in a row. Of two datasets each has every second batch, whatever the
# weights; of more, none can pass one half, and the small ones get the rest. "stratified" keeps to the weights.
#
# Seen (litdata 0.2.76, torch 2.13.0; shares of the samples of 500 batches of 4):
#   weights            stratified             per_stream
#   0.9 0.1            0.90 0.10              0.50 0.50
#   0.8 0.1 0.1        0.80 0.10 0.10         0.46 0.28 0.27
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 lightning-utilities==0.15.3 filelock==4.3.1 \
    boto3==1.44.8 requests==2.34.2 tifffile==2026.3.3 obstore==0.12.1
"$folder/venv/bin/pip" install --quiet --no-deps litdata==0.2.76
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import itertools
from pathlib import Path

from litdata import CombinedStreamingDataset, StreamingDataLoader, StreamingDataset
from litdata.streaming.writer import BinaryWriter

for task in range(3):
    Path(f"task{task}").mkdir()
    writer = BinaryWriter(f"task{task}", chunk_bytes="1MB")
    for row in range(4000):
        writer[row] = {"task": task}
    writer.done()
    writer.merge()


def sequence(weights, method):
    """The dataset of each sample of 500 batches of 4."""
    parts = [StreamingDataset(f"task{task}") for task in range(len(weights))]
    mixed = CombinedStreamingDataset(parts, weights=weights, iterate_over_all=False, batching_method=method)
    loader = StreamingDataLoader(mixed, batch_size=4)
    return [batch["task"].tolist() for batch in itertools.islice(loader, 500)]


def shares(batches, tasks):
    drawn = sum(batches, [])
    return [round(drawn.count(task) / len(drawn), 2) for task in range(tasks)]


for weights in ([0.9, 0.1], [0.8, 0.1, 0.1]):
    mixed, alone = sequence(weights, "stratified"), sequence(weights, "per_stream")
    found = shares(mixed, len(weights)), shares(alone, len(weights))
    print("weights", weights, "stratified", found[0], "per_stream", found[1])
    assert all(len(set(batch)) == 1 for batch in alone)
    assert all(one[0] != other[0] for one, other in itertools.pairwise(alone))
    assert abs(found[0][0] - weights[0]) < 0.03 and found[1][0] <= 0.5
    assert len(weights) > 2 or found[1] == [0.5, 0.5]
PY
