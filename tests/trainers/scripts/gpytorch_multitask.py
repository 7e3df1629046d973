"""gpytorch: two Gaussian processes over one learned feature map, SumMarginalLogLikelihood."""

import _by_hand
import gpytorch
import torch
from torch import nn

torch.manual_seed(0)
features = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


class OneTask(gpytorch.models.ExactGP):
    def __init__(self, x, y):
        super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood())
        self.features = features
        self.mean = gpytorch.means.ConstantMean()
        self.kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, x):
        z = self.features(x)
        return gpytorch.distributions.MultivariateNormal(self.mean(z), self.kernel(z))


x = torch.rand(40, 3)
first, second = OneTask(x, torch.sin(6 * x[:, 0])), OneTask(x, 5 * x[:, 1].square())
model = gpytorch.models.IndependentModelList(first, second)
likelihood = gpytorch.likelihoods.LikelihoodList(first.likelihood, second.likelihood)
objective = gpytorch.mlls.SumMarginalLogLikelihood(likelihood, model)
model.train()
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
for i in range(20):
    optimizer.zero_grad()
    output = model(*model.train_inputs)
    loss = -objective(output, model.train_targets)
    if _by_hand.on:
        one, two = (m(o, y) for m, o, y in zip(objective.mlls, output, model.train_targets, strict=True))
        _by_hand.tasks(model, first=-one / 2, second=-two / 2)
    loss.backward()
    optimizer.step()
    if i % 10 == 9:
        print(loss.item())
_by_hand.finish(model)
