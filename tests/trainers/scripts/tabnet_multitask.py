"""pytorch-tabnet: TabNetMultiTaskClassifier with two classes to tell."""

import warnings

import _by_hand
import _data
import numpy as np
import torch
from pytorch_tabnet.multitask import TabNetMultiTaskClassifier

warnings.simplefilter("ignore")
torch.manual_seed(0)
x, kind, _, flag = _data.rows()
model = TabNetMultiTaskClassifier(n_d=4, n_a=4, n_steps=2, verbose=0, seed=0, device_name="cpu")
targets = np.stack([kind.numpy(), flag.numpy().astype(int)], 1)
model.fit(x.numpy(), targets, max_epochs=3, batch_size=64, virtual_batch_size=32)
_by_hand.finish(model.network)
