"""deepctr-torch: MMOE with two tasks, compiled and fitted."""

import os
import warnings

import numpy as np

os.environ["no_proxy"] = "*"
warnings.simplefilter("ignore")
import _by_hand  # noqa: E402
from deepctr_torch.inputs import DenseFeat, SparseFeat  # noqa: E402
from deepctr_torch.models import MMOE  # noqa: E402

random = np.random.default_rng(0)
rows = 256
columns = [SparseFeat("user", 20, embedding_dim=4), DenseFeat("age", 1), DenseFeat("price", 1)]
given = {"user": random.integers(0, 20, rows), "age": random.normal(size=rows), "price": random.normal(size=rows)}
click = (given["age"] > 0).astype("float32")
spend = (given["price"] * 3).astype("float32")
model = MMOE(
    columns,
    num_experts=2,
    expert_dnn_hidden_units=(8,),
    gate_dnn_hidden_units=(),
    tower_dnn_hidden_units=(4,),
    task_types=["binary", "regression"],
    task_names=["click", "spend"],
    l2_reg_embedding=0,
    l2_reg_dnn=0,
    l2_reg_linear=0,
    device="cpu",
)
model.compile("adagrad", loss=["binary_crossentropy", "mse"])
model.fit(given, np.stack([click, spend], 1), batch_size=64, epochs=4, verbose=0, shuffle=False)
_by_hand.finish(model)
