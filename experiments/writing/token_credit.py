"""Where credit goes, of strings of which little matters: DPO's implicit reward of each token.

A response is a string of five letters of which one place matters, a fifth; gold is whether it has
the right letter. The warm-up, the reference, saw demonstrations that answer another prompt in
half of the cases.

Online, in groups of eight: "terminal" pays gold at the end and nothing else. RTO adds to each
token the log-ratio to the reference of a guide, a policy tuned by DPO on 1,024 pairs that the
reference wrote, times 0.05 and clipped to 0.05, less 0.01 of the policy's own: the paper's
numbers, for responses of hundreds of tokens. Of five tokens that is little, so "tenfold" has
0.5 for both; "uniform" spreads the sum of just that over the response in equal parts, and
"true credit" pays each token what the verifier knows of it. The credit of a token is what it
and all later ones earn, less the mean of the others of the group (PRIME's rule).

On 1,024 pairs that the reference wrote: DPO; TGDPO, whose log-ratios count by what a guide,
DPO for as many updates on the same pairs, thinks of each token; T-REG, which adds a quarter of
the log-likelihood of tokens by that guide's credit, or by the true one; and, as half of it is
spent on the guide, DPO for twice as many updates.

Arms of a kind share each seed's warm-up, guide and pairs. Sizes were tuned on seeds 1000 to
1003, where of ten letters, two of which matter, tenfold was no better. Seeds to report begin
at 0; margins are 0.02 of gold.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _writing
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
)
from jaxrl_reward.training.record.write_up import markdown_table

ZHONG = "Zhong et al. 2024, DPO Meets PPO: Reinforced Token Optimization (RTO)"
ZHU = "Zhu et al. 2025, TGDPO: Token-Level Reward Guidance for DPO"
ZHOU = "Zhou et al. 2024, T-REG: Token-Level Reward Regularization"
TOKENS, RESPONSES, UPDATES, PAIR_UPDATES = 6, 64, 100, 200
MARGIN = 0.02
GUIDED = (
    "((({0}*signal('guide_log_ratio', when='step')) | clip(low=-{0}, high={0}))"
    " - 0.01*signal('log_ratio', when='step'))"
)
TEN, TENFOLD = "RTO, tenfold", GUIDED.format(0.5)
CREDITS = {
    "terminal": "0*env",
    "RTO": GUIDED.format(0.05),
    TEN: TENFOLD,
    "uniform": f"({TENFOLD} | spread_return())",
    "true credit": "signal('credit', when='step')",
}
ONLINE: dict[str, Any] = {
    "num_envs": RESPONSES,
    "group_size": 8,
    "advantage": "env",
    "guide_pairs": 1024,
    "learning_rate": 3e-3,
}
LOSSES = {
    "DPO": "dpo(beta=0.1)",
    "TGDPO": "tgdpo(beta=0.1, alpha=0.5)",
    "T-REG": "dpo(beta=0.1) + 0.25*treg(beta=0.1)",
}
TRUE = "T-REG, true credit"
OFFLINE: dict[str, Any] = {
    "pairs": 1024,
    "batch_size": 64,
    "updates": 10,
    "look": 16,
    "labels": "better",
}


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Gold of drawn responses, how far the policy is from the reference, and how well the
    guide, where there is one, tells right from wrong letters where they matter."""
    from jaxrl_reward.agents.sequence import writer, writing
    from jaxrl_reward.rewards.groups.ways import groups_of

    task = agent.env.environment.task
    model = writer.model_of(agent.config, task)
    block = _writing.drawn(agent, state.params, key, jnp.arange(8), 64)
    text = block.next_obs[-1].astype(jnp.int32)
    tokens, alive = text[:, task.prompt_length :], groups_of(block).alive.T

    def known(params: Any) -> jax.Array:
        law = jax.nn.log_softmax(model.logits(params, text).astype(jnp.float32))
        return writing.token_log_probs(law, tokens)

    reference = known(state.reference)
    gap = jnp.where(alive, known(state.params) - reference, 0.0).sum(1)
    told = {
        "gold": groups_of(block).total(block.env_reward).mean(),
        "divergence": gap.mean(),
        "tokens": alive.sum(1).mean(),
    }
    if not isinstance(state.guide, tuple):
        credit, gained = block.info["credit"].T, known(state.guide) - reference
        good, bad = (_writing.mean_where(gained, alive & (s * credit > 0)) for s in (1, -1))
        told["guide"] = good - bad
    return told


def area(result: Any) -> np.ndarray:
    """Mean gold over training, `[S]`: the sooner it rises, the larger."""
    values = _writing.values(result, "gold")
    return values[:, 1:].mean(1)


def verdict(results: Results) -> Sequence[Verdict]:
    """Who learns sooner with groups, and who ends with more gold on pairs."""
    told = []
    if "RTO" in results:
        told.append(
            above(
                "A guide tells right letters from wrong ones where they matter",
                "by how many nats more it has raised the right ones",
                _writing.first(results["RTO"], "guide"),
                0.5,
                source=ZHONG,
            )
        )

    def more(arm: str, other: str, values: Any, claim: str, what: str, source: str) -> None:
        if {arm, other} <= set(results):
            pair = values(results[arm]), values(results[other])
            said = f"{what} of {arm} less that of {other}"
            told.append(_writing.paired(claim, said, *pair, margin=MARGIN, source=source))

    mean, end = "mean gold over training", "gold at the end"
    last = lambda result: _writing.last(result, "gold")  # noqa: E731
    sooner = "{} learns sooner than {}".format
    more("RTO", "terminal", area, sooner("RTO", "terminal reward alone"), mean, ZHONG)
    more(TEN, "terminal", area, sooner("RTO tenfold", "terminal reward alone"), mean, ZHONG)
    more(TEN, "uniform", area, sooner("RTO tenfold", "the same sum in equal parts"), mean, ZHONG)
    true = sooner("The true credit of tokens", "terminal reward alone")
    more("true credit", "terminal", area, true, mean, ZHONG)
    for arm, source in (("TGDPO", ZHU), ("T-REG", ZHOU)):
        more(arm, "DPO", last, f"{arm} ends with more gold than DPO", end, source)
        more(
            *(arm, "DPO, twice", last),
            f"{arm} ends with more gold than DPO for as many updates as it and its guide took",
            *(end, source),
        )
    more(TRUE, "T-REG", last, "T-REG: the true credit is better than a guide's", end, ZHOU)
    return told


def present(results: Results, path: Path) -> Sequence[str]:
    """Gold over updates, online and on pairs, and the numbers at the end."""
    from jaxrl_reward.report import fronts

    online = [name for name in results if name in CREDITS]
    kinds = {
        "Online, in groups": online,
        "On pairs": [name for name in results if name not in online],
    }
    panels = {
        title: {
            arm: fronts.curve(
                results[arm].curves.curve("gold")[0]
                // (RESPONSES * TOKENS if some is online else 1),
                _writing.values(results[arm], "gold"),
            )
            for arm in some
        }
        for title, some in kinds.items()
        if some
    }
    title = "Credit for strings of which little matters"
    fronts.lines(panels, path / "figure.png", title=title, labels=("Updates", "Gold"), columns=2)
    rows = []
    for name, result in results.items():
        guided = "guide" in result.curves.table["metric"].unique().to_pylist()
        rows.append(
            (
                name,
                _writing.cell(area(result)),
                _writing.cell(_writing.last(result, "gold")),
                f"{_writing.last(result, 'divergence').mean():.1f}",
                f"{_writing.first(result, 'guide').mean():.2f}" if guided else "",
            )
        )
    start = next(iter(results.values()))
    return [
        "![Gold over updates](figure.png)",
        f"The warm-up has {_writing.cell(_writing.first(start, 'gold'))} of gold. `divergence` is "
        "that from the reference in nats, `guide` by how many nats more the guide has raised "
        "right letters than wrong ones where they matter, in responses of the warm-up.",
        markdown_table(("Arm", "mean gold", "gold at the end", "divergence", "guide"), rows),
    ]


experiment = Experiment(
    name="token_credit",
    title="Credit for tokens from pairs of responses",
    claim="The implicit reward that DPO learns from whole responses says which tokens matter: "
    "paid for token by token, or as weights in the loss, it is learned from sooner",
    source=f"{ZHONG}; {ZHU}; {ZHOU}",
    env=f"sequence:local,length=5,matter=1,max_tokens={TOKENS}",
    agent="pair_pg",
    config={
        "network": "gru",
        "width": 32,
        "warmup": 200,
        "warmup_wrong": 0.5,
        "learning_rate": 1e-3,
        "guide": PAIR_UPDATES,
    },
    arms=(
        *(
            Arm(
                name,
                f"stack(env, {credit}) | prime()",
                agent="group_pg",
                config=ONLINE,
                share=UPDATES * RESPONSES * TOKENS / PAIR_UPDATES,
            )
            for name, credit in CREDITS.items()
        ),
        *(Arm(name, loss, config=OFFLINE) for name, loss in LOSSES.items()),
        Arm("DPO, twice", LOSSES["DPO"], config=OFFLINE, share=2.0),
        Arm(TRUE, LOSSES["T-REG"], config={**OFFLINE, "credit": "credit"}),
    ),
    presets={
        "smoke": Preset(
            2,
            20,
            evals=2,
            config={"width": 8, "warmup": 40, "guide": 4, "learning_rate": 1e-2},
            arms=["RTO", "uniform", "DPO", "TGDPO"],
        ),
        "quick": Preset(seeds=16, total_steps=PAIR_UPDATES, evals=10),
        "paper": Preset(64, 10 * PAIR_UPDATES, evals=50, config={"width": 64}),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    metric="gold",
)
