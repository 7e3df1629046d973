"""DeepXDE: a Poisson problem, residual and boundary loss, Adam then L-BFGS."""

import contextlib
import io
import os
import warnings

os.environ["DDE_BACKEND"] = "pytorch"
import _by_hand
import deepxde
import numpy as np
import torch

warnings.simplefilter("ignore")
deepxde.config.set_random_seed(0)


def equation(x, y):
    return deepxde.grad.hessian(y, x) + np.pi**2 * torch.sin(np.pi * x)


geometry = deepxde.geometry.Interval(-1, 1)
condition = deepxde.icbc.DirichletBC(geometry, lambda x: 0, lambda x, on_boundary: on_boundary)
data = deepxde.data.PDE(geometry, equation, condition, 16, 2, num_test=20)
net = deepxde.nn.FNN([1, 16, 16, 1], "tanh", "Glorot uniform")
model = deepxde.Model(data, net)
with contextlib.redirect_stdout(io.StringIO()):  # it prints how long things took
    model.compile("adam", lr=1e-2, loss_weights=[1, 10])
    history, _ = model.train(iterations=20, display_every=100, verbose=0)
print(history.loss_train[-1].tolist())
_by_hand.finish(net)
