#!/usr/bin/env bash
# openskill==6.2.0, Python 3.11.
#
# Question: does rate(..., weights=[[1], [1]]), the same weight for both, give what rate(...) without weights gives?
# One would guess: yes; equal contributions are the default. And [[1], [100]] would differ from [[100], [1]].
# Seen: in a game of one against one every weight, whatever its value, is turned into 2, the upper of weight_bounds.
#   The winner's gain is multiplied by it and the loser's loss DIVIDED by it: +5.27 and -1.32 in place of +2.64 and
#   -2.64. All five models do so. In a team only the order and relative gaps count, stretched to [1, 2]: weights
#   1 and 1.001 are the same as 1 and 100. weight_bounds=None, documented to switch this off, raises TypeError in the
#   published (compiled) wheel.
# Consequence: leaderboards of models or agents drift upwards without end: ten equal players start at 25 and have a
#   mean above 100 after 3,000 games, so that ratings of different times or numbers of games cannot be compared.
# Source: openskill/models/common.py, _normalize; openskill/models/weng_lin/*.py, _compute and __init__.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'openskill==6.2.0'
"$dir/venv/bin/python" - <<'PY'
import random

from openskill import models

NAMES = ("PlackettLuce", "BradleyTerryFull", "BradleyTerryPart", "ThurstoneMostellerFull", "ThurstoneMostellerPart")


def gains(model, weights):
    result = model.rate([[model.rating()], [model.rating()]], ranks=[1, 2], weights=weights)
    return [round(team[0].mu - 25, 3) for team in result]


for name in NAMES:
    model = getattr(models, name)()
    plain, equal = gains(model, None), gains(model, [[1], [1]])
    print(f"{name:23s} without weights {plain}, weights 1 and 1 {equal}, 1 and 100 {gains(model, [[1], [100]])}")
    if any(gains(model, [[x], [y]]) != equal for x, y in ((5, 5), (0.1, 0.1), (1, 100), (100, 1))):
        raise SystemExit(f"changed: {name} tells the weights of single players apart")
    if abs(equal[0] / plain[0] - 2) > 0.01 or abs(equal[1] / plain[1] - 0.5) > 0.01:
        raise SystemExit(f"changed: {name} no longer doubles gains and halves losses")

model = models.PlackettLuce()
means = []
for weights in (None, [[1], [1]]):
    random.seed(0)
    players = [model.rating() for _ in range(10)]
    for _ in range(3000):
        winner, loser = random.sample(range(10), 2)
        (first,), (second,) = model.rate([[players[winner]], [players[loser]]], ranks=[1, 2], weights=weights)
        players[winner], players[loser] = first, second
    means.append(sum(player.mu for player in players) / 10)
print(f"mean of ten equal players after 3,000 games: {means[0]:.1f} without weights, {means[1]:.1f} with weights of 1")
try:
    models.PlackettLuce(weight_bounds=None)
    raise SystemExit("changed: weight_bounds=None is taken")
except TypeError as error:
    print("weight_bounds=None:", error)
if abs(means[0] - 25) > 2 or means[1] < 100:
    raise SystemExit("changed: ratings no longer drift")
PY
