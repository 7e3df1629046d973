#!/usr/bin/env bash
# torchsampler 0.1.2, ImbalancedDatasetSampler(indices=...), which restricts it to a part of the data, as a split leaves
# one: unless the indices are in rising order, rows are drawn with each other's weights. The weights are sorted by
# index, the indices are not. A split made by random_split, train_test_split or a permutation is not sorted: the sampler
# then draws by weights that have nothing to do with the label, and the rare class stays as rare as it was. (Which rows
# it does draw often is an accident.) Nothing is said; it is documented to weigh each sample inversely to how often its
# class appears.
#
# Seen (torchsampler 0.1.2, torch 2.13.0; 10,000 rows, 5 % of class 1, half of the rows as a training split; share of
# class 1 among 200,000 draws):
#   indices sorted: 0.50    the same indices as random_split gives them: 0.06
# (torchvision, which the package imports to look into image folders, is left out here; labels are given.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pandas==3.1.1
"$folder/venv/bin/pip" install --quiet --no-deps torchsampler==0.1.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
import types

import torch
from torch.utils.data import TensorDataset, random_split

sys.modules["torchvision"] = types.ModuleType("torchvision")
from torchsampler import ImbalancedDatasetSampler  # noqa: E402

torch.manual_seed(0)
labels = (torch.rand(10_000) < 0.05).long()
data = TensorDataset(torch.arange(10_000.0), labels)
training, _ = random_split(data, [5_000, 5_000])


def share_of_the_rare(indices):
    mine = labels[indices].tolist()
    sampler = ImbalancedDatasetSampler(data, labels=mine, indices=indices, num_samples=200_000)
    return labels[list(sampler)].double().mean().item()


in_order, as_split = share_of_the_rare(sorted(training.indices)), share_of_the_rare(list(training.indices))
print(f"share of class 1: indices sorted {in_order:.3f}, the same as random_split gives them {as_split:.3f}")
assert abs(in_order - 0.5) < 0.01
assert as_split < 0.2
PY
