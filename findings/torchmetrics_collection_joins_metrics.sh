#!/usr/bin/env bash
# torchmetrics 1.9.0, MetricCollection: which metrics are computed together is decided by comparing their states after
# the first batch, not by what they are. Two metrics whose counts happen to agree on that batch are one from then on,
# for the whole run: only the first is updated, and the other reports the first one's value under its own name. The
# threshold, the ignored label or the class they differ in is not looked at. An easy first batch is enough.
# compute_groups=False helps.
#
# Seen (torchmetrics 1.9.0, torch 2.13.0; two batches, predictions between the two thresholds only in the second):
#   accuracy at threshold 0.9: 1.0 in a collection with threshold 0.5; 0.5 alone, or with the batches turned round
#   accuracy with class 2 ignored, absent from the first batch: 0.667 in a collection with one that counts it; 1.0 alone
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchmetrics==1.9.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy

easy = torch.tensor([0.95, 0.1, 0.99, 0.2]), torch.tensor([1, 0, 1, 0])
unsure = torch.tensor([0.6, 0.7, 0.8, 0.6]), torch.tensor([1, 1, 1, 1])


def together(batches, **metrics):
    collection = MetricCollection(metrics)
    for batch in batches:
        collection.update(*batch)
    return {name: round(float(value), 4) for name, value in collection.compute().items()}


def thresholds():
    return {"lenient": BinaryAccuracy(threshold=0.5), "strict": BinaryAccuracy(threshold=0.9)}


alone = together((easy, unsure), strict=BinaryAccuracy(threshold=0.9))
joined, other_order = together((easy, unsure), **thresholds()), together((unsure, easy), **thresholds())
print("threshold 0.9:", alone, "alone;", joined, "in a collection;", other_order, "with the batches in the other order")
assert alone["strict"] == other_order["strict"] == 0.5
assert joined["strict"] == 1.0

without = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1])
missed = torch.tensor([0, 1, 1]), torch.tensor([0, 2, 2])


def pair():
    kind = dict(num_classes=3, average="micro")
    return {"all": MulticlassAccuracy(**kind), "no_class_2": MulticlassAccuracy(ignore_index=2, **kind)}


alone = together((without, missed), no_class_2=pair()["no_class_2"])
joined = together((without, missed), **pair())
print("class 2 ignored:", alone, "alone;", joined, "in a collection")
assert alone["no_class_2"] == 1.0
assert joined["no_class_2"] == joined["all"] == 0.6667
PY
