"""stable-baselines3: SAC, whose critics, actor and temperature each have an optimizer."""

import warnings

import _by_hand
import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC

warnings.simplefilter("ignore")


class Track(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-3, 3, (4,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def _draw(self):
        self.state = self.np_random.uniform(-1, 1, 4).astype(np.float32)
        return self.state

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 20
        return self._draw(), {}

    def step(self, action):
        reward = -float(abs(action[0] - self.state.mean()))
        self.left -= 1
        return self._draw(), reward, self.left == 0, False, {}


torch.manual_seed(0)
model = SAC("MlpPolicy", Track(), learning_starts=32, batch_size=32, policy_kwargs={"net_arch": [16]}, seed=0)
model.learn(52)
_by_hand.finish(model.policy)
