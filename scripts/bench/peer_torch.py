"""RIQL as its authors' program works: eager PyTorch, three losses, three optimizers.

The same networks, losses and batches as ours. Critics are one batched product per
layer; the data are tensors, of which rows are drawn by NumPy. The published program
(Yang et al. 2024) needs D4RL and an old gym, and cannot be installed beside this one;
this is its way of working, without the eleven numbers that it reads for its log after
every update, not its code.
"""

import copy
import itertools
import math

import numpy as np
import torch
from serve import serve
from torch import nn


class Linear(nn.Module):
    """K layers side by side: `[K, B, n]` to `[K, B, m]`."""

    def __init__(self, count, n, m):
        super().__init__()
        bound = 1 / math.sqrt(n)
        self.weight = nn.Parameter(torch.empty(count, n, m).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, 1, m).uniform_(-bound, bound))

    def forward(self, x):
        return torch.baddbmm(self.bias, x, self.weight)


class Critics(nn.Module):
    def __init__(self, count, sizes):
        super().__init__()
        layers = []
        for n, m in itertools.pairwise(sizes):
            layers += [Linear(count, n, m), nn.ReLU()]
        self.count, self.net = count, nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.net(x.expand(self.count, *x.shape))[..., 0]


def network(*sizes):
    layers = []
    for n, m in itertools.pairwise(sizes):
        layers += [nn.Linear(n, m), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Learner:
    """One seed of RIQL."""

    def __init__(self, task, obs, action):
        self.settings = task["settings"]
        hidden, rate = self.settings["hidden"], self.settings["learning_rate"]
        self.policy = network(obs, *hidden, action)
        self.value = network(obs, *hidden, 1)
        self.critic = Critics(self.settings["critics"], (obs + action, *hidden, 1))
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)
        nets = (self.policy, self.value, self.critic)
        self.adams = [torch.optim.Adam(net.parameters(), lr=rate) for net in nets]

    def update(self, obs, action, reward, after, ended):
        of_policy, of_value, of_critic = self.adams
        judged = torch.cat([obs, action], 1)
        with torch.no_grad():
            next_value = self.value(after)[:, 0]
            aim = torch.quantile(self.slow(judged), self.settings["quantile"], dim=0)

        u = aim - self.value(obs)[:, 0]
        step(of_value, (torch.where(u < 0, 0.3, 0.7) * u.square()).mean())

        target = (reward + 0.99 * (1.0 - ended) * next_value).clamp(-100.0, 1000.0)
        delta, q = self.settings["huber_delta"], self.critic(judged)
        step(of_critic, nn.functional.huber_loss(q, target.expand_as(q), delta=delta) / delta)
        with torch.no_grad():
            for slow, fast in zip(self.slow.parameters(), self.critic.parameters(), strict=True):
                slow.lerp_(fast, 0.005)

        trust = (3.0 * u.detach()).exp().clamp(max=100.0)
        apart = (torch.tanh(self.policy(obs)) - action).square().sum(1)
        step(of_policy, (trust * apart).mean())


def step(adam, loss):
    adam.zero_grad(set_to_none=True)
    loss.backward()
    adam.step()


def train(task):
    rng, rows, size = np.random.default_rng(0), task["rows"], task["settings"]["batch_size"]
    shapes = ((rows, task["obs"]), (rows, task["action"]), (rows,), (rows, task["obs"]))
    data = [torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for shape in shapes]
    data.append((torch.arange(rows) % 1000 == 999).float())
    learner, updates = Learner(task, task["obs"], task["action"]), task["settings"]["updates"]

    def repeat():
        for _ in range(task["iterations"] * updates):
            index = torch.from_numpy(rng.integers(0, rows, size))
            learner.update(*(each[index] for each in data))
        return task["iterations"] * updates

    learner.update(*(each[:size] for each in data))  # allocates; there is nothing to compile
    return 0.0, repeat, lambda: []


if __name__ == "__main__":
    serve(train)
