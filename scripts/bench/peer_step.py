"""IQL as a single file has it: one compiled update a call, on a batch drawn by NumPy.

The same networks, losses and batches as ours, from flax and optax alone: K critics
under `nn.vmap`, a train state for each network, each loss with its own gradient.
The published single-file programs need D4RL and an old JAX, and cannot be installed
beside this one; this is their way of working, not their code. RIQL is the same with
more critics, a quantile of them and Huber's loss.
"""

import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState
from serve import serve


class MLP(nn.Module):
    sizes: tuple

    @nn.compact
    def __call__(self, x):
        for size in self.sizes[:-1]:
            x = nn.relu(nn.Dense(size)(x))
        return nn.Dense(self.sizes[-1])(x)


def ensemble(count, sizes):
    axes = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
    return nn.vmap(MLP, **axes, in_axes=None, out_axes=0, axis_size=count)(sizes)


def states(task):
    """A train state for each network."""
    settings, hidden = task["settings"], tuple(task["settings"]["hidden"])
    obs, action = jnp.zeros((1, task["obs"])), jnp.zeros((1, task["action"]))
    networks = {
        "policy": (MLP((*hidden, task["action"])), obs),
        "value": (MLP((*hidden, 1)), obs),
        "critic": (ensemble(settings["critics"], (*hidden, 1)), jnp.concatenate([obs, action], 1)),
    }
    made = {}
    for i, (name, (network, example)) in enumerate(networks.items()):
        params = network.init(jax.random.key(i), example)
        adam = optax.adam(settings["learning_rate"])
        made[name] = TrainState.create(apply_fn=network.apply, params=params, tx=adam)
    return made, made["critic"].params


def worth(q, settings):
    quantile = settings.get("quantile")
    return q.min(0) if quantile is None else jnp.quantile(q, quantile, axis=0)


def critic_loss(error, settings):
    delta = settings.get("huber_delta")
    if delta is None:
        return 0.5 * jnp.square(error).mean()
    return (optax.huber_loss(error, delta=delta) / delta).mean()


def updater(settings):
    def update(networks, slow, batch):
        obs, action, reward, after, ended = batch
        policy, value, critic = (networks[name] for name in ("policy", "value", "critic"))
        judged = jnp.concatenate([obs, action], axis=1)
        next_value = value.apply_fn(value.params, after)[:, 0]
        aim = worth(critic.apply_fn(slow, judged)[..., 0], settings)

        def by_value(params):
            u = aim - value.apply_fn(params, obs)[:, 0]
            return (jnp.where(u < 0, 0.3, 0.7) * jnp.square(u)).mean(), u

        gradient, u = jax.grad(by_value, has_aux=True)(value.params)
        target = reward + 0.99 * (1.0 - ended) * next_value

        def by_critic(params):
            q = critic.apply_fn(params, judged)[..., 0]
            return critic_loss(target[None] - q, settings)

        trust = jnp.minimum(jnp.exp(3.0 * u), 100.0)

        def by_policy(params):
            out = jnp.tanh(policy.apply_fn(params, obs))
            return (trust * jnp.square(out - action).sum(1)).mean()

        critic = critic.apply_gradients(grads=jax.grad(by_critic)(critic.params))
        policy = policy.apply_gradients(grads=jax.grad(by_policy)(policy.params))
        value = value.apply_gradients(grads=gradient)
        slow = optax.incremental_update(critic.params, slow, 0.005)
        return {"policy": policy, "value": value, "critic": critic}, slow

    return update


def train(task):
    rng, rows, size = np.random.default_rng(0), task["rows"], task["settings"]["batch_size"]
    shapes = ((rows, task["obs"]), (rows, task["action"]), (rows,), (rows, task["obs"]))
    data = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    data.append((np.arange(rows) % 1000 == 999).astype(np.float32))

    def batch():
        index = rng.integers(0, rows, size)
        return [each[index] for each in data]

    networks, slow = states(task)
    started = time.perf_counter()
    update = jax.jit(updater(task["settings"])).lower(networks, slow, batch()).compile()
    seconds = time.perf_counter() - started

    def repeat():
        nonlocal networks, slow
        for _ in range(task["iterations"] * task["settings"]["updates"]):
            networks, slow = update(networks, slow, batch())
        jax.block_until_ready(slow)
        return task["iterations"] * task["settings"]["updates"]

    return seconds, repeat, lambda: []


if __name__ == "__main__":
    serve(train)
