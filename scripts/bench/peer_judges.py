"""Judges fitted one after the other, as a PyTorch program does it: `nn.GRU`, a linear head, Adam.

The same pairs, sizes, wrong labels and widths as ours; a narrow judge is a narrow network here.
"""

import numpy as np
import torch
from serve import serve
from torch import nn
from torch.nn import functional


class Judge(nn.Module):
    """Scores one-hot texts `[N, L, V]` behind their last token, `[N]`."""

    def __init__(self, vocabulary, width):
        super().__init__()
        self.torso = nn.GRU(vocabulary, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, text, last):
        known = self.torso(text)[0]
        return self.head(known[torch.arange(len(last)), last])[:, 0]


def train(task):
    torch.set_num_threads(task["threads"])
    data, s = np.load(task["data"]), task["settings"]
    tokens = torch.from_numpy(data["text"]).long()
    last = (tokens < s["vocabulary"]).sum(-1) - 1
    hot = functional.one_hot(tokens, s["vocabulary"] + 1)[..., : s["vocabulary"]].float()
    labels = torch.from_numpy(data["label"])
    held = torch.from_numpy(data["held_out"]).long()
    held_hot = functional.one_hot(held, s["vocabulary"] + 1)[..., : s["vocabulary"]].float()
    held_last = (held < s["vocabulary"]).sum(-1) - 1
    accuracies = []

    def fit(judge):
        torch.manual_seed(judge)
        model = Judge(s["vocabulary"], int(data["units"][judge]))
        adam = torch.optim.Adam(model.parameters(), lr=s["rate"])
        size, batch = int(data["size"][judge]), s["batch_size"]
        for _ in range(s["steps"]):
            at = torch.randint(size, (batch,))
            said = model(hot[at].flatten(0, 1), last[at].flatten()).view(batch, 2)
            label, gap = labels[judge, at], said[:, 0] - said[:, 1]
            loss = -(label * functional.logsigmoid(gap)).mean()
            loss = loss - ((1 - label) * functional.logsigmoid(-gap)).mean()
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
        with torch.no_grad():
            said = model(held_hot.flatten(0, 1), held_last.flatten()).view(-1, 2)
        return float((said[:, 0] > said[:, 1]).float().mean())

    def repeat():
        accuracies[:] = [fit(judge) for judge in range(task["judges"])]
        return task["judges"] * s["steps"]

    fit(0)  # allocates; there is nothing to compile
    return 0.0, repeat, lambda: accuracies


if __name__ == "__main__":
    serve(train)
