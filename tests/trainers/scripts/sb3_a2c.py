"""stable-baselines3: actor and critic over one feature extractor; policy + 0.01 entropy + 0.5 value. ARG: a2c | ppo."""

import sys
import warnings

import _by_hand
import gymnasium
import numpy as np
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

warnings.simplefilter("ignore")


class Sign(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-3, 3, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def _draw(self):
        self.state = self.np_random.uniform(-1, 1, 4).astype(np.float32)
        return self.state

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 20
        return self._draw(), {}

    def step(self, action):
        reward = float(action == (self.state.sum() > 0))
        self.left -= 1
        return self._draw(), reward, self.left == 0, False, {}


class Features(BaseFeaturesExtractor):
    def __init__(self, space):
        super().__init__(space, 16)
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh())

    def forward(self, x):
        return self.net(x)


torch.manual_seed(0)
shared = {"features_extractor_class": Features, "net_arch": []}
if sys.argv[1] == "ppo":
    model = PPO("MlpPolicy", Sign(), n_steps=64, batch_size=32, n_epochs=2, ent_coef=0.01, policy_kwargs=shared, seed=0)
else:
    model = A2C("MlpPolicy", Sign(), n_steps=8, ent_coef=0.01, policy_kwargs=shared, seed=0)
model.learn(256)
_by_hand.finish(model.policy)
