"""torch-rechub's MTLTrainer over a shared bottom: click and conversion. ARG: its adaptive method, or none."""

import sys
import warnings

import _by_hand
import numpy as np
import torch
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import SharedBottom
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator

warnings.simplefilter("ignore")
method = sys.argv[1] if len(sys.argv) > 1 else None
torch.manual_seed(0)
random = np.random.default_rng(0)
user, age = random.integers(0, 50, 640), random.random(640).astype("float32")
click = (user % 3 == 0).astype(float)
conversion = ((user % 3 == 0) & (age > 0.5)).astype(float)
features = [SparseFeature("user", vocab_size=50, embed_dim=8), DenseFeature("age")]
model = SharedBottom(
    features,
    ["classification", "classification"],
    bottom_params={"dims": [16]},
    tower_params_list=[{"dims": [8]}, {"dims": [8]}],
)
x, y = {"user": user, "age": age}, np.stack([click, conversion], 1)
train, val, test = DataGenerator(x, y).generate_dataloader(x_val=x, y_val=y, x_test=x, y_test=y, batch_size=32)
trainer = MTLTrainer(
    model,
    ["classification", "classification"],
    optimizer_params={"lr": 1e-2, "weight_decay": 1e-5},
    adaptive_params={"method": method} if method else None,
    n_epoch=2,
)
if _by_hand.on:  # the losses are the trainer's own: noted where its loss functions give them
    own = trainer.loss_fns

    def noting(i):
        def function(predicted, target):
            loss = own[i](predicted, target)
            _by_hand.tasks(model, **{f"loss_list[{i}]": loss / 2})
            return loss

        return function

    trainer.loss_fns = [noting(0), noting(1)]
trainer.fit(train, val)
_by_hand.finish(model)
