#!/usr/bin/env bash
# pytorch-forecasting 1.8.0, CompositeMetric, what a sum of losses is: `loss + other` and `0.5 * loss` change `loss`
# itself and return it. A sum that is made for the log, or a scaled one for another model, becomes part of the loss that
# is trained on, under whatever name; two configurations that start from one sum are one object, with all terms of both.
# A single metric is left alone, and nothing is said. Adding and multiplying are documented as the way to combine
# metrics; one would expect a new one, as in Python's arithmetic, and as from the single metrics.
#
# Seen (pytorch-forecasting 1.8.0, lightning 2.6.6, torch 2.13.0; predictions 1 2 3 4 of 2 4 6 8; the loss, and the norm
# of its gradient):
#   loss = MAE() + SMAPE()        3.167   0.743
#   after logged = loss + RMSE()  5.905   1.192   loss is "MAE() + SMAPE() + RMSE()"
#   after half = 0.5 * loss       2.953   0.596   loss is "0.5 * MAE() + 0.5 * SMAPE() + 0.5 * RMSE()"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 lightning==2.6.6 pandas==3.0.6 scipy==1.17.1 \
    scikit-learn==1.6.1 scikit-base==1.0.2 pytorch-forecasting==1.8.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from pytorch_forecasting.metrics import MAE, RMSE, SMAPE

target = torch.tensor([[2.0, 4.0], [6.0, 8.0]])


def value_and_gradient(loss):
    predicted = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]], requires_grad=True)
    value = loss(predicted, target)
    value.backward()
    return round(value.item(), 3), round(predicted.grad.norm().item(), 3)


single = MAE()
2 * single
single + RMSE()
assert value_and_gradient(single) == value_and_gradient(MAE())

loss = MAE() + SMAPE()
first = value_and_gradient(loss)
print("loss:                       ", loss, *first)
logged = loss + RMSE()
added = value_and_gradient(loss)
print("after logged = loss + RMSE():", loss, *added)
half = 0.5 * loss
scaled = value_and_gradient(loss)
print("after half = 0.5 * loss:     ", loss, *scaled)
assert logged is loss and half is loss
assert first == value_and_gradient(MAE() + SMAPE())
assert added == value_and_gradient(MAE() + SMAPE() + RMSE()) != first
assert abs(scaled[0] - added[0] / 2) < 0.002
PY
