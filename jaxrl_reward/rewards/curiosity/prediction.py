"""Curiosity: novelty, prediction errors, disagreement, empowerment.

A prediction error pays for noise for ever (the noisy TV); `hindsight`,
`disagreement` and `rdd` are three ways not to. Normalise a bonus by its return,
as in `0.1*icm(actions=4) | normalize()`, or add it to the environment's.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward import counting
from jaxrl_reward.nn import networks
from jaxrl_reward.nn.networks import mlp
from jaxrl_reward.rewards.core import vectors
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, no_state, static
from jaxrl_reward.rewards.core.checks import Count, NotNegative, Positives, Several, Share
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.curiosity.distillation import Whitened, rnd
from jaxrl_reward.types import Array, Transition

SMALL = {"width": 4, "updates": 1, "batch_size": 4}


@register("pseudo_counts", {"bins": 8})
class pseudo_counts(RewardTransform):  # noqa: N801
    """`1 / sqrt(n + 0.01)`, n the pseudo-count of the next observation since the start.

    Bellemare et al. 2016, "Unifying Count-Based Exploration and Intrinsic
    Motivation", section 3: `n = rho (1 - rho') / (rho' - rho)`, rho the probability
    of the observation by a density model and rho' that after seeing it once more. The
    model takes components as independent: of each it counts cells
    `floor(x * resolution)`, modulo `bins`, with half a count in every bin before.
    What is alike in most components is then not new, unlike in `lifetime_counts`.
    """

    resolution: Positives = 10.0
    bins: Count = static(default=64)
    scope = "learned"
    varies = True

    def init(self, key: Array, example: Transition) -> State:
        del key
        size = example.obs.reshape(*example.first.shape, -1).shape[-1]
        return no_state(example, counting.zero((size, self.bins)))

    def apply(self, state: State, block: Transition) -> Applied:
        reward = self.relabel(state.shared, block, ())
        seen = state.shared.add_at(self._bins(block))
        return Applied(state.replace(shared=seen), reward, {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del features
        table = shared.value + 0.5
        count, total = table[self._bins(batch)], table[0].sum()
        after = jnp.log((count + 1.0) / (total + 1.0)).sum(-1)
        # log rho' - log rho, whose terms are nearly equal after many visits.
        gain = jnp.log1p((total - count) / (count * (total + 1.0))).sum(-1)
        pseudo = -jnp.expm1(after) / jnp.maximum(jnp.expm1(gain), 1e-30)
        return jax.lax.rsqrt(pseudo + 0.01).reshape(batch.first.shape)

    def _bins(self, batch: Transition) -> tuple[Array, Array]:
        """Where the table counts each component, two indices `[B, D]`."""
        obs = batch.next_obs.reshape(batch.first.size, -1)
        cell = jnp.floor(obs * self._scale(obs)).astype(jnp.int32) % self.bins
        return jnp.broadcast_to(jnp.arange(obs.shape[1])[None], cell.shape), cell

    def _scale(self, obs: Array) -> Array:
        scale = jnp.asarray(self.resolution, jnp.float32).reshape(1, -1)
        return jnp.broadcast_to(scale, (1, obs.shape[1]))


@register("rdd", {**SMALL, "features": 4})
class rdd(rnd):  # noqa: N801
    """Random distribution distillation: `mean((f(s') - g(s'))^2)`, f fitted to g + sigma * noise.

    "Exploration by Random Distribution Distillation" (2025, arXiv:2505.11044): as the
    targets are draws, f is after n visits at best their mean, and the bonus falls as
    `sigma^2 / n`, a pseudo-count, where that of `rnd` falls as the optimiser has it.
    `sigma=0` is `rnd`.
    """

    sigma: NotNegative = 1.0

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        obs = batch.next_obs.reshape(batch.first.shape[0], -1)
        goal = jax.lax.stop_gradient(self._net().apply(params["g"], obs))
        drawn = goal + self.sigma * jax.random.normal(key, goal.shape)
        return ((self._net().apply(params["f"], obs) - drawn) ** 2).mean()


# ---- what follows an action ---------------------------------------------------------


class Dynamics(Whitened):
    """A term that predicts around an action; `actions` is how many there are.

    Where an action is several whole numbers it is the most that one of them has.
    Leave `actions` at 1 where the action is continuous.
    """

    width: Count = static(default=64)
    actions: Count = static(default=1)

    def init_params(self, key: Array, example: Transition) -> Any:
        vectors.check_actions(self, example)
        sizes = self.sizes(example.next_obs.size, self.encoded(example).size)
        keys = jax.random.split(key, len(sizes))
        params = {}
        for one, (name, (before, after)) in zip(keys, sizes.items(), strict=True):
            params[name] = self.net(after).init(one, jnp.zeros(before))
        return params

    def sizes(self, obs: int, action: int) -> dict[str, tuple[int, int]]:
        """The size of the input and of the output of each network, by name."""
        raise NotImplementedError

    def net(self, size: int) -> networks.Network:
        """A network with `size` outputs."""
        return mlp((self.width, size), "relu", 1.0)

    def run(self, params: Any, size: int, *inputs: Array) -> Array:
        """The `size` outputs of the network with these parameters."""
        return self.net(size).apply(params, jnp.concatenate(inputs))

    def encoded(self, transition: Transition) -> Array:
        """The action, one-hot if it is discrete."""
        return vectors.action(transition.action, self.actions)

    def log_prob(self, out: Array, transition: Transition) -> Array:
        """Of the action, if `out` holds logits, or the mean of a unit Gaussian."""
        action = self.encoded(transition)
        if jnp.issubdtype(transition.action.dtype, jnp.integer):
            each = jax.nn.log_softmax(out.reshape(-1, self.actions)).reshape(-1)
            return (each * action).sum()
        return -0.5 * ((action - out) ** 2).sum()


@register("icm", {**SMALL, "features": 3, "actions": 2})
class icm(Dynamics):  # noqa: N801
    """`|f(phi(s), a) - phi(s')|^2 / 2`, in features phi from which the action can be told.

    The intrinsic curiosity module of Pathak et al. 2017, equations 2 to 7: the
    loss is (1 - beta) times that of the inverse model, which guesses the action
    from both features, plus beta times that of the forward model.
    """

    features: Count = static(default=32)
    beta: Share = 0.2

    def sizes(self, obs: int, action: int) -> dict[str, tuple[int, int]]:
        k = self.features
        return {"phi": (obs, k), "forward": (k + action, k), "inverse": (2 * k, action)}

    def reward(self, params: Any, transition: Transition) -> Array:
        return self._errors(params, transition)[0]

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        del key
        forward, inverse = jax.vmap(lambda t: self._errors(params, t))(batch)
        return (self.beta * forward + (1.0 - self.beta) * inverse).mean()

    def _errors(self, params: Any, transition: Transition) -> tuple[Array, Array]:
        before = self.run(params["phi"], self.features, vectors.observation(transition.obs))
        after = self.run(params["phi"], self.features, vectors.observation(transition.next_obs))
        action = self.encoded(transition)
        guess = self.run(params["forward"], self.features, before, action)
        action = self.run(params["inverse"], action.size, before, after)
        return 0.5 * ((guess - after) ** 2).sum(), -self.log_prob(action, transition)


class Bootstrapped(Dynamics):
    """Predicts an embedding of the next observation that slowly follows one's own."""

    features: Count = static(default=32)
    follow: Share = 0.001

    def init_params(self, key: Array, example: Transition) -> Any:
        params = super().init_params(key, example)
        return {**params, "target": jax.tree.map(jnp.copy, params["phi"])}

    def settle(self, params: Any) -> Any:
        def move(old: Array, new: Array) -> Array:
            return old + self.follow * (new - old)

        return {**params, "target": jax.tree.map(move, params["target"], params["phi"])}

    def error(self, params: Any, transition: Transition, guess: Array) -> Array:
        """The squared distance of two directions, of the guess and the target's."""
        after = vectors.observation(transition.next_obs)
        goal = jax.lax.stop_gradient(self.run(params["target"], self.features, after))
        return ((unit(guess) - unit(goal)) ** 2).sum()


def unit(x: Array) -> Array:
    """`x` at length 1."""
    return x * jax.lax.rsqrt((x**2).sum() + 1e-8)


@register("byol", {**SMALL, "features": 3, "actions": 2})
class byol(Bootstrapped):  # noqa: N801
    """`|unit(h(phi(s), a)) - unit(target(s'))|^2`, target a slow copy of phi; in [0, 4].

    BYOL-Explore (Guo et al. 2022) with one step of prediction and no recurrence: the
    error of a bootstrapped latent prediction is loss and bonus.
    """

    def sizes(self, obs: int, action: int) -> dict[str, tuple[int, int]]:
        k = self.features
        return {"phi": (obs, k), "h": (k + action, k)}

    def reward(self, params: Any, transition: Transition) -> Array:
        before = self.run(params["phi"], self.features, vectors.observation(transition.obs))
        guess = self.run(params["h"], self.features, before, self.encoded(transition))
        return self.error(params, transition, guess)

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        del key
        return jax.vmap(lambda t: self.reward(params, t))(batch).mean()


@register("hindsight", {**SMALL, "features": 3, "hidden": 2, "actions": 2, "negatives": 2})
class hindsight(Bootstrapped):  # noqa: N801
    """The error of `byol`'s prediction when a hindsight z(s, a, s', noise) tells what no one knew.

    Jarrett et al. 2023, "Curiosity in Hindsight": z is free to carry what is pure
    noise, but a critic punishes what could have been known from (s, a), by
    `invariance * E log(g(s, a, z) / mean_k g(s, a, z_k))` with g = exp(5 tanh(.)) and
    z_k of other transitions, which the critic maximises and z minimises. The
    noise is 0 when the bonus is computed.
    """

    hidden: Count = static(default=32)
    negatives: Count = static(default=8)
    invariance: NotNegative = 1.0

    def sizes(self, obs: int, action: int) -> dict[str, tuple[int, int]]:
        k, z = self.features, self.hidden
        return {
            "phi": (obs, k),
            "z": (2 * obs + action + z, z),
            "h": (k + action + z, k),
            "critic": (k + action + z, 1),
        }

    def reward(self, params: Any, transition: Transition) -> Array:
        return self._reconstruct(params, transition, jnp.zeros(self.hidden))[0]

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        rows = batch.first.shape[0]
        noise = jax.random.normal(key, (rows, self.hidden))
        error, z, state = jax.vmap(lambda t, n: self._reconstruct(params, t, n))(batch, noise)
        others = [jnp.roll(z, k + 1, axis=0) for k in range(self.negatives)]
        stopped = {**params, "critic": jax.lax.stop_gradient(params["critic"])}
        told = self._told(stopped, state, z, others)  # minimised by z
        hold = jax.lax.stop_gradient((state, z, others))
        return (error + self.invariance * (told - self._told(params, *hold))).mean()

    def _reconstruct(
        self, params: Any, transition: Transition, noise: Array
    ) -> tuple[Array, Array, Array]:
        obs, action = vectors.observation(transition.obs), self.encoded(transition)
        state = jnp.concatenate([self.run(params["phi"], self.features, obs), action])
        z = self.run(
            params["z"], self.hidden, obs, action, vectors.observation(transition.next_obs), noise
        )
        guess = self.run(params["h"], self.features, state, z)
        # The critic trains z alone, and never the state's features.
        return self.error(params, transition, guess), z, jax.lax.stop_gradient(state)

    def _told(self, params: Any, state: Array, z: Array, others: list[Array]) -> Array:
        """How much z tells of (s, a), by the critic, `[B]`."""

        def score(z: Array) -> Array:
            run = jax.vmap(lambda s, z: self.run(params["critic"], 1, s, z)[0])
            return 5.0 * jnp.tanh(run(state, z))

        scores = jnp.stack([score(z), *map(score, others)])
        return scores[0] - jax.nn.logsumexp(scores, axis=0) + jnp.log(len(scores))


@register("disagreement", {**SMALL, "members": 2, "actions": 2})
class disagreement(Dynamics):  # noqa: N801
    """The variance over `members` predictions of the next observation, mean over its components.

    Pathak et al. 2019, "Self-Supervised Exploration via Disagreement", equation 1;
    to first order the information gained on the dynamics (Sekar et al. 2020). All
    members come to predict the mean of pure noise, and agree. Each learns from
    its own half of a batch.
    """

    members: Several = static(default=5)

    def sizes(self, obs: int, action: int) -> dict[str, tuple[int, int]]:
        return {"step": (obs + action, obs)}

    def net(self, size: int) -> networks.Network:
        return networks.ensemble(super().net(size), self.members)

    def reward(self, params: Any, transition: Transition) -> Array:
        return self._guesses(params, transition).var(0).mean()

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        guesses = jax.vmap(lambda t: self._guesses(params, t))(batch)
        goal = batch.next_obs.reshape(batch.first.shape[0], 1, -1)
        mine = jax.random.bernoulli(key, 0.5, guesses.shape[:2])
        return (((guesses - goal) ** 2).mean(-1) * mine).mean()

    def _guesses(self, params: Any, transition: Transition) -> Array:
        obs = vectors.observation(transition.obs)
        return self.run(params["step"], obs.size, obs, self.encoded(transition))


@register("empowerment", {**SMALL, "actions": 2})
class empowerment(Dynamics):  # noqa: N801
    """`log q(a | s, s') - log p(a | s)`: how well the next state tells which action was taken.

    The variational bound on the information between action and next state (Barber
    and Agakov 2003; Mohamed and Rezende 2015), for the policy that is played, whose
    actions p learns to predict. Pays where actions have distinct effects, whatever they are.
    Both are softmax, or unit Gaussians if the action is continuous. What the actions
    tell does not depend on the scale of what is seen, which is not whitened here.
    """

    whiten: bool = static(default=False, kw_only=True)

    def sizes(self, obs: int, action: int) -> dict[str, tuple[int, int]]:
        return {"q": (2 * obs, action), "p": (obs, action)}

    def reward(self, params: Any, transition: Transition) -> Array:
        q, p = self._log_probs(params, transition)
        return q - p

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        del key
        q, p = jax.vmap(lambda t: self._log_probs(params, t))(batch)
        return -(q + p).mean()

    def _log_probs(self, params: Any, transition: Transition) -> tuple[Array, Array]:
        obs, after = vectors.observation(transition.obs), vectors.observation(transition.next_obs)
        size = self.encoded(transition).size
        return (
            self.log_prob(self.run(params["q"], size, obs, after), transition),
            self.log_prob(self.run(params["p"], size, obs), transition),
        )
