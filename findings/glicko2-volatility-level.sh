#!/usr/bin/env bash
# glicko2==2.1.0, Python 3.11.
#
# Question: two players with the same history, one among opponents 1000 points higher: do they get the same new
#   volatility and deviation, and ratings 1000 apart?
# One would guess: yes; Glicko-2 knows differences of ratings only.
# Seen: no. Where the algorithm has the squared DEVIATION of the player, this one has his squared rating (distance from
#   1500): far from 1500 the volatility hardly moves from its start whatever happens, and at exactly 1500 it moves too
#   much. Ten losses as a favourite: .0608 is right, .0600 is given at 2500 and at 500, .0610 at 1500. After 60 rating
#   periods of a player who is strong and weak in turns: .068 right, .060 at 2500, rating 14 points off.
# Consequence: agents or models that suddenly improve or break keep a small deviation and follow too slowly, the more
#   so the further they stand from 1500; the same results give other ratings after a shift of the scale.
# Source: glicko2/glicko2.py, Player._f (self.__rating**2 twice, where the paper's step 5 has phi squared).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'glicko2==2.1.0'
"$dir/venv/bin/python" - <<'PY'
import math
import random

import glicko2

SCALE, TAU = 173.7178, 0.5


def exact(rating, deviation, volatility, ratings, deviations, results):
    """One rating period by the paper, the root of step 5 by halving."""
    mu, phi = (rating - 1500) / SCALE, deviation / SCALE
    damped = [1 / math.sqrt(1 + 3 * (d / SCALE / math.pi) ** 2) for d in deviations]
    others = [((r - 1500) / SCALE, g) for r, g in zip(ratings, damped)]
    chances = [1 / (1 + math.exp(-g * (mu - m))) for m, g in others]
    v = 1 / sum(g * g * p * (1 - p) for (_, g), p in zip(others, chances))
    push = sum(g * (s - p) for (_, g), p, s in zip(others, chances, results))
    start = math.log(volatility**2)

    def slope(x):
        spread = phi * phi + v + math.exp(x)
        return math.exp(x) * ((v * push) ** 2 - spread) / (2 * spread**2) - (x - start) / TAU**2

    low, high = start - 10, start + 10
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    new = math.exp(low / 2)
    after = 1 / math.sqrt(1 / (phi * phi + new * new) + 1 / v)
    return rating + SCALE * after**2 * push, after * SCALE, new


def step(player, ratings, deviations, results):
    player.update_player(ratings, deviations, results)
    return player.rating, player.rd, player.vol


paper = step(glicko2.Player(1500, 200, 0.06), [1400, 1550, 1700], [30, 100, 300], [1, 0, 0])
print("the paper's example:", [round(x, 5) for x in paper])
for level in (500, 1000, 1500, 2000, 2500):
    case = [level - 300] * 10, [30] * 10, [0] * 10
    seen, right = step(glicko2.Player(level, 50, 0.06), *case), exact(level, 50, 0.06, *case)
    print(f"ten losses as the favourite at {level}: volatility {seen[2]:.4f}, right {right[2]:.4f}; "
          f"rating {seen[0] - level:+.2f}, right {right[0] - level:+.2f}")
    if abs(right[2] - 0.0608) > 1e-4 or abs(seen[2] - right[2]) < 1e-4:
        raise SystemExit(f"changed: the volatility is right at {level}")

for level in (500, 1500, 2500):
    draw = random.Random(1)
    player, right = glicko2.Player(level, 60, 0.06), (level, 60, 0.06)
    for period in range(60):
        chance = 0.95 if period // 10 % 2 else 0.05
        case = [level] * 8, [50] * 8, [int(draw.random() < chance) for _ in range(8)]
        seen, right = step(player, *case), exact(*right, *case)
    print(f"60 periods, strong and weak in turns, at {level}: rating {seen[0] - level:+.1f}, deviation {seen[1]:.1f}, "
          f"volatility {seen[2]:.4f}; right {right[0] - level:+.1f}, {right[1]:.1f}, {right[2]:.4f}")
    if abs(seen[2] - right[2]) < 0.002:
        raise SystemExit("changed: the volatility follows")
PY
