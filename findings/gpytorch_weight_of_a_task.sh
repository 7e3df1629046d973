#!/usr/bin/env bash
# gpytorch 1.15.2: what a task weighs in SumMarginalLogLikelihood. It is documented as the sum of the tasks' marginal
# log likelihoods, "the MLL of the multi-output model" when outputs are independent. It is the mean over tasks of each
# task's likelihood per data point: where tasks share parameters (a deep kernel, a tied lengthscale), a task of 4 rows
# pulls as one of 400 does, 100 times as hard as in the sum. And "per data point" counts rows, not observed ones: with
# settings.observation_nan_policy("mask"), the same 40 observations weigh a tenth when 360 missing rows stand beside them.
#
# Seen (torch 2.13.0): gradient of the shared lengthscale, by task, over its gradient in the true sum:
#   4 rows: 1/8, 400 rows: 1/800;   40 rows: 1/40, the same 40 among 400 with the rest NaN: 1/400
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 gpytorch==1.15.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import gpytorch
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
shared = gpytorch.kernels.RBFKernel()


class Task(gpytorch.models.ExactGP):
    def __init__(self, x, y):
        super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood())
        self.mean, self.kernel = gpytorch.means.ZeroMean(), shared

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))


def task(rows):
    x = torch.rand(rows, 1)
    return Task(x, torch.sin(7 * x[:, 0]) + 0.1 * torch.randn(rows))


def pull(value):
    return float(torch.autograd.grad(value, shared.raw_lengthscale, retain_graph=True)[0])


def true_likelihood(model):
    """log N(y | 0, K + noise) of the observed rows, summed, from its definition."""
    (x,), y = model.train_inputs, model.train_targets
    seen = ~y.isnan()
    x, y = x[seen], y[seen]
    covariance = shared(x).to_dense() + model.likelihood.noise * torch.eye(len(x))
    return torch.distributions.MultivariateNormal(torch.zeros(len(x)), covariance).log_prob(y)


with gpytorch.settings.fast_computations(False, False, False):
    small, large = task(4), task(400)
    models = gpytorch.models.IndependentModelList(small, large)
    likelihoods = gpytorch.likelihoods.LikelihoodList(small.likelihood, large.likelihood)
    objective = gpytorch.mlls.SumMarginalLogLikelihood(likelihoods, models)
    models.train()
    output = models(*models.train_inputs)
    whole = pull(objective(output, models.train_targets))
    shares = {n: pull(true_likelihood(m)) / d for m, n, d in ((small, 4, 8), (large, 400, 800))}
    print(f"pull on the shared lengthscale: {whole:.6f}; true pulls: {pull(true_likelihood(small)):.4f} (4 rows), "
          f"{pull(true_likelihood(large)):.4f} (400 rows); weighted 1/8 and 1/800: {sum(shares.values()):.6f}")
    assert abs(whole - sum(shares.values())) < 1e-6 * abs(whole)

    few = task(40)
    x = torch.cat([few.train_inputs[0], torch.rand(360, 1)])
    padded = Task(x, torch.cat([few.train_targets, torch.full((360,), torch.nan)]))
    pulls = []
    for model, policy in ((few, "ignore"), (padded, "mask")):
        model.train()
        with gpytorch.settings.observation_nan_policy(policy):
            mll = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
            pulls.append(pull(mll(model(*model.train_inputs), model.train_targets)))
    print(f"the same 40 observations: pull {pulls[0]:.6f} alone, {pulls[1]:.6f} beside 360 missing rows: "
          f"{pulls[0] / pulls[1]:.3f} times")
    assert abs(pulls[0] / pulls[1] - 10) < 1e-4
PY
