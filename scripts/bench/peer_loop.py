"""SubPO on the coverage grid as a plain program: NumPy, one environment after the other.

The same work as ours: episodes from the current policy, marginal gains to come less
the mean of the others, one Adam step on all of them; a seed after the other.
"""

import itertools
import math

import numpy as np
from serve import serve

SIZE, START, MOVES = 30, (1, 4), ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))


class Learner:
    """One seed: a policy of two hidden layers, and Adam's state."""

    def __init__(self, seed, settings):
        self.rng = np.random.default_rng(seed)
        self.episodes, self.rate = settings["num_envs"], settings["learning_rate"]
        self.steps = settings["num_steps"]
        sizes = (3, *settings["hidden"], len(MOVES))
        self.weights = []
        for i, (n, m) in enumerate(itertools.pairwise(sizes)):
            gain = 0.01 if i == len(sizes) - 2 else math.sqrt(2.0 / n)
            self.weights += [gain * self.rng.normal(size=(n, m)), np.zeros(m)]
        self.first = [np.zeros_like(w) for w in self.weights]
        self.second = [np.zeros_like(w) for w in self.weights]
        self.updates = 0

    def forward(self, x):
        layers = [x]
        for i in range(0, len(self.weights) - 2, 2):
            layers.append(np.tanh(layers[-1] @ self.weights[i] + self.weights[i + 1]))
        logits = layers[-1] @ self.weights[-2] + self.weights[-1]
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        return layers, odds / odds.sum(-1, keepdims=True)

    def episode(self):
        """Observations `[T, 3]`, actions and marginal gains `[T]`."""
        (row, col), covered = START, np.zeros((SIZE + 1, SIZE + 1), bool)
        covered[row : row + 2, col : col + 2] = True
        seen, chosen, gains = [], [], []
        for t in range(self.steps):
            scale = SIZE - 1
            obs = np.array([2 * row / scale - 1, 2 * col / scale - 1, 2 * t / self.steps - 1])
            odds = self.forward(obs)[1]
            action = min(int(np.searchsorted(odds.cumsum(), self.rng.random())), 4)
            down, right = MOVES[action]
            row, col = min(max(row + down, 0), scale), min(max(col + right, 0), scale)
            block = covered[row : row + 2, col : col + 2]
            gain = (~block[: SIZE - row, : SIZE - col]).sum()
            block[:] = True
            seen.append(obs)
            chosen.append(action)
            gains.append(4.0 + gain if t == 0 else float(gain))
        return np.array(seen), np.array(chosen), np.array(gains)

    def update(self):
        played = [self.episode() for _ in range(self.episodes)]
        obs, action, gain = (np.stack(parts) for parts in zip(*played, strict=True))
        to_go = gain[:, ::-1].cumsum(1)[:, ::-1]
        weight = (to_go - to_go.mean(0)) * self.episodes / (self.episodes - 1)
        rows = action.size
        layers, odds = self.forward(obs.reshape(rows, 3))
        back = odds.copy()
        back[np.arange(rows), action.reshape(-1)] -= 1.0
        back *= weight.reshape(-1, 1) / rows
        gradient = []
        for i in range(len(self.weights) - 2, -1, -2):
            layer = layers[i // 2]
            gradient = [layer.T @ back, back.sum(0), *gradient]
            back = (back @ self.weights[i].T) * (1.0 - layer**2)
        self.updates += 1
        for k, each in enumerate(gradient):
            self.first[k] += 0.1 * (each - self.first[k])
            self.second[k] += 0.001 * (each**2 - self.second[k])
            first = self.first[k] / (1 - 0.9**self.updates)
            second = self.second[k] / (1 - 0.999**self.updates)
            self.weights[k] -= self.rate * first / (np.sqrt(second) + 1e-8)


def train(task):
    learners = [Learner(seed, task["settings"]) for seed in range(task["seeds"])]

    def repeat():
        # A sample of the work: what is measured is steps per second.
        for learner in learners[: task["loops"]]:
            learner.update()
        return task["loops"] * learners[0].episodes * learners[0].steps

    return 0.0, repeat, lambda: []


if __name__ == "__main__":
    serve(train)
