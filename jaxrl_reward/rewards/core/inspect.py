"""What an expression needs, before it runs."""

from rich.tree import Tree

from jaxrl_reward.rewards.core import checks, operators
from jaxrl_reward.rewards.core.base import RewardTransform

WHOLE = {
    "episodic": "whole episodes",
    "group": "groups of whole episodes",
    "pair": "pairs of responses",
}


def check(reward: RewardTransform) -> None:
    """Raises a `UserError` unless all arguments are such as are declared.

    As when an expression is built, for one whose numbers were put in place since.
    """
    checks.arguments(reward)
    reward.validate()
    for part in reward.children():
        check(part)


def terms(reward: RewardTransform) -> list[RewardTransform]:
    """The terms that an expression is made of, in the order in which they are applied."""
    parts = reward.children()
    return [term for part in parts for term in terms(part)] if parts else [reward]


def needs_episodes(reward: RewardTransform) -> bool:
    """True if any term is defined on whole episodes, or groups of them, only."""
    return reward.scope in WHOLE or any(map(needs_episodes, reward.children()))


def scopes(reward: RewardTransform) -> set[str]:
    """The scopes of an expression's terms; those of `WHOLE` are not for every agent."""
    own = set() if reward.scope == "operator" else {reward.scope}
    return own.union(*map(scopes, reward.children()))


def varies(reward: RewardTransform) -> bool:
    """True if the same transition may earn another reward later on."""
    return reward.varies or any(map(varies, reward.children()))


def replay_problem(reward: RewardTransform, upstream: bool = False) -> str | None:
    """Why replay cannot reproduce the expression exactly; None if it can.

    A term that remembers earlier rewards stores its result, which is wrong as
    soon as what came before it changes.

    Args:
      reward: the expression.
      upstream: whether the stages before it vary.
    """
    if reward.scope in WHOLE:
        return f"{reward} needs {WHOLE[reward.scope]}"
    if reward.learns_in_order:
        return f"{reward} learns from whole episodes, which replay does not keep together"
    if reward.reads_history and upstream:
        return f"{reward} remembers rewards of a stage before it that changes"
    for part in reward.children():
        problem = replay_problem(part, upstream)
        if problem:
            return problem
        if isinstance(reward, operators.Chain):
            upstream = upstream or varies(part)
    return None


def explain(reward: RewardTransform, upstream: bool = False) -> Tree:
    """The expression as a tree: each term's scope, and what replay does with it."""
    if reward.children():
        label = getattr(reward, "label", "")
        tree = Tree(f"{type(reward).__name__.lower()} {label}".strip())
    else:
        if reward.scope == "causal":
            replay = "recorded at collection"
        else:
            replay = "recomputed with the current state" if reward.varies else "recomputed"
        problem = replay_problem(reward, upstream)
        needs = {"causal": "the steps of its episode in order", **WHOLE}
        need = needs.get(reward.scope, "one transition")
        tree = Tree(f"{reward}  scope: {reward.scope}; needs: {need}; replay: {problem or replay}")
    tree.children += [Tree(f"warning: {each}") for each in reward.remarks()]
    for part in reward.children():
        tree.children.append(explain(part, upstream))
        if isinstance(reward, operators.Chain):
            upstream = upstream or varies(part)
    return tree
