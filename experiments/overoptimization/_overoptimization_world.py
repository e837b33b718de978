"""Of `overoptimization` and `hacking`: responses of tokens, what they are worth, and their judges.

A response is a row of tokens. Each token is worth something, drawn once per seed, and the
gold reward is their sum. The reference writes tokens independently, and rarely those
that are worth little, as one would that has learnt from good examples. Judges are
networks of the token counts, fitted to comparisons of the reference's own responses, of
which a share is wrong; of tokens that the reference hardly writes they have seen
next to nothing. All are standardised on the reference's responses (mean 0, deviation 1).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward import preferences
from jaxrl_reward import rewards as rw
from jaxrl_reward.preferences import labels, overoptimization
from jaxrl_reward.rewards.core import one_step
from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Measured,
    Preset,
    Results,
    Verdict,
    above,
)
from jaxrl_reward.training.record.result import Result
from jaxrl_reward.training.record.write_up import markdown_table
from jaxrl_reward.types import Array, Transition

TOKENS, LENGTH = 24, 12
SKILL, LUCK = 1.5, 1.0  # how the reference's logits follow what tokens are worth, and chance
SETTINGS: Mapping[str, Any] = {
    "pairs": 400,
    "wrong": 0.25,
    "width": 32,
    "steps": 400,
    "kl_weight": 0.1,
    "points": 20,
    "batch_size": 128,
    "pool": 4096,
    "samples": 512,
}


class World(struct.PyTreeNode):
    """What tokens are worth `[V]`, the reference's logits `[L, V]`, and who judges.

    `location` and `scale`, `[K]` each, are of the judges' scores of the reference.
    """

    worth: Array
    reference: Array
    model: preferences.RewardModel
    location: Array
    scale: Array

    def gold(self, tokens: Array) -> Array:
        """What responses `[B, L]` are worth, `[B]`."""
        chance = jax.nn.softmax(self.reference[0])
        mean = chance @ self.worth
        spread = jnp.sqrt(LENGTH * (chance @ (self.worth - mean) ** 2))
        return (self.worth[tokens] - mean).sum(-1) / spread

    def scores(self, tokens: Array) -> Array:
        """What the judges say of responses `[B, L]`, `[B, K]`."""
        raw = jax.vmap(self.model.scores)(read(tokens))
        return (raw - self.location[None]) / self.scale[None]


def read(tokens: Array) -> Transition:
    """Responses `[..., L]` as steps whose next observation holds the counts `[..., V]`."""
    counts = jax.nn.one_hot(tokens, TOKENS).sum(-2)
    zero = jnp.zeros(counts.shape[:-1])
    nothing, no = zero[..., None], zero > 0
    return Transition(nothing, nothing, zero, zero, counts, ~no, ~no, no)


def world(key: Array, pairs: int, wrong: float, members: int, width: int, steps: int) -> World:
    """A world, and judges fitted to `pairs` comparisons, of which a share is `wrong`."""
    keys = jax.random.split(key, 8)
    worth = jax.random.normal(keys[0], (TOKENS,))
    logits = SKILL * worth + LUCK * jax.random.normal(keys[1], (TOKENS,))
    reference = jnp.broadcast_to(logits[None], (LENGTH, TOKENS))
    first, second = (overoptimization.draw(k, reference, pairs) for k in keys[2:4])
    model = preferences.init(keys[4], jax.tree.map(lambda x: x[0], read(first)), members, width)
    made = World(worth, reference, model, jnp.zeros(members), jnp.ones(members))
    right = (made.gold(first) > made.gold(second)).astype(jnp.float32)
    label = labels.flip(keys[5], right, wrong)
    one, other = (read(tokens[:, None]) for tokens in (first, second))
    model, _ = preferences.fit(model, keys[6], one, other, label, steps=steps, decay=0.001)
    made = made.replace(model=model)
    scores = made.scores(overoptimization.draw(keys[7], reference, 1024))
    return made.replace(location=scores.mean(0), scale=scores.std(0))


def measure(
    arms: Sequence[Arm],
    preset: Preset,
    keys: Array,
    tick: Callable[[int, int], None],
    members: int = 5,
) -> Mapping[str, Measured]:
    """Every arm's path in the same worlds: up a gradient, or to the best of n."""
    s = {**SETTINGS, "members": members, **preset.config}
    tick(0, len(arms) + 1)
    make = partial(world, **{k: s[k] for k in ("pairs", "wrong", "members", "width", "steps")})
    worlds = jax.block_until_ready(jax.jit(jax.vmap(make))(keys))
    found = {}
    for done, arm in enumerate(arms):
        tick(done + 1, len(arms) + 1)
        search, at = _searches[arm.config.get("search", "gradient")](arm, preset, s)
        path = jax.jit(jax.vmap(search))(keys, worlds)
        found[arm.name] = Measured(path._asdict(), at)
    tick(len(arms) + 1, len(arms) + 1)
    return found


def _gradient(arm: Arm, preset: Preset, s: Mapping[str, Any]) -> Any:
    term = rw.parse(arm.reward)
    updates = max(1, preset.total_steps // s["points"])
    weight = arm.config.get("kl_weight", s["kl_weight"])

    def search(key: Array, made: World) -> overoptimization.Path:
        return overoptimization.climb(
            jax.random.fold_in(key, 1),
            term,
            made.scores,
            made.gold,
            made.reference,
            points=s["points"],
            updates=updates,
            batch_size=s["batch_size"],
            kl_weight=weight,
            samples=s["samples"],
        )

    return search, tuple(range(0, updates * s["points"] + 1, updates))


def _best_of(arm: Arm, preset: Preset, s: Mapping[str, Any]) -> Any:
    del preset
    term, counts = rw.parse(arm.reward), 2 ** jnp.arange(11)

    def search(key: Array, made: World) -> overoptimization.Path:
        start, drawn = jax.random.split(jax.random.fold_in(key, 2))
        tokens = overoptimization.draw(drawn, made.reference, s["pool"])
        scores = made.scores(tokens)
        state = one_step.start(term, start, scores)
        proxy = one_step.judge(term, state, scores)[1]
        return overoptimization.best_of(proxy, made.gold(tokens), counts)

    return search, tuple(int(n) for n in counts)


_searches = {"gradient": _gradient, "best of n": _best_of}


# ---- what is made of it -----------------------------------------------------------


PEAK, MARGIN = 100, 0.2  # an update, and deviations of the reference's gold


def falls(results: Results, arm: str, *, expected: bool = True, **about: Any) -> Verdict:
    """Whether an arm loses gold from update (or n) `PEAK` to the end.

    There a single proxy's gold is highest on the seeds that settled the constants. With
    `expected` false the claim is that no more than `MARGIN` is lost.
    """
    found = results[arm].study
    peak = sum(at <= PEAK for at in found.at) - 1
    gold = np.asarray(found.values["gold"])
    what = f"gold that {arm} loses after {found.at[peak]}"
    limit = 0.0 if expected else MARGIN
    return above(
        values=gold[:, peak] - gold[:, -1], what=what, limit=limit, expected=expected, **about
    )


def present(
    searches: Mapping[str, Mapping[str, Result]], path: Path, *, title: str
) -> Sequence[str]:
    """Draws gold and proxy over the root of the divergence; the fitted laws as a table."""
    from jaxrl_reward.report import fronts

    panels, rows = {}, []
    for search, arms in searches.items():
        for metric in ("gold", "proxy"):
            panels[f"{search}: {metric}"] = {
                arm: fronts.curve(r.study.values["root_kl"], r.study.values[metric])
                for arm, r in arms.items()
            }
        form = "best_of" if search == "Best of n" else "gradient"
        for arm, result in arms.items():
            values = {k: jnp.asarray(v).mean(0) for k, v in result.study.values.items()}
            gained = values["gold"] - values["gold"][0]
            law = overoptimization.scaling(values["root_kl"], gained, form)
            fall = float(np.median(overoptimization.fall(jnp.asarray(result.study.values["gold"]))))
            numbers = [f"{float(x):.2f}" for x in (values["root_kl"][-1], *law)]
            rows.append((search, arm, *numbers, f"{fall:.0%}"))
    labels = ("Root of KL(policy | reference)", "Mean, in deviations of the reference's")
    fronts.lines(panels, path / "figure.png", title=title, labels=labels, columns=2)
    head = ("Search", "Judge", "root KL at the end", "alpha", "beta", "R²", "median fall")
    return [
        "![Gold and proxy over the root of the divergence from the reference](figure.png)",
        "Gao et al.'s laws, fitted to the mean over seeds: `d (alpha - beta log d)` for the "
        "policy gradient, `d (alpha - beta d)` for the best of n. The fall is the share of a "
        "seed's gain at its peak that is lost at the end.",
        markdown_table(head, rows),
    ]
