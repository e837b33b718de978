"""What is learnt does not depend on the format: one recorded set in several, IQL from each.

    python scripts/bench/data_formats.py --out scripts/bench/record/data_formats.md

Random steps of Pendulum are written by this package and, by the layouts of other libraries, with
NumPy and h5py; each file is read again and IQL learns from it. What it ends with is compared as a
checksum of all its parameters.
"""

import argparse
import hashlib
import json
import os
import tempfile
import warnings
from pathlib import Path

import h5py
import jax
import numpy as np

from jaxrl_reward import agents, training
from jaxrl_reward import data as datasets
from jaxrl_reward.data import described
from jaxrl_reward.envs import make

ENV = "gymnax:Pendulum-v1,max_steps_in_episode=50"
EPISODES, STEPS = 40, 50
UPDATES = 2000


def recorded():
    """Random steps of Pendulum, in whole episodes that end by the clock."""
    env = make(ENV)
    rng, parts = np.random.default_rng(0), []
    step, reset = jax.jit(env.step), jax.jit(env.reset)
    for number in range(EPISODES):
        obs, state = reset(jax.random.key(number))
        rows = {name: [] for name in ("obs", "action", "reward", "next_obs")}
        for t in range(STEPS):
            action = rng.uniform(-2, 2, 1).astype(np.float32)
            after, state, reward, *_ = step(jax.random.key(1000 * number + t), state, action)
            for name, value in zip(rows, (obs, action, reward, after), strict=True):
                rows[name].append(np.asarray(value, np.float32))
            obs = after
        parts.append({name: np.stack(each) for name, each in rows.items()})
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ends = np.arange(EPISODES * STEPS) % STEPS == STEPS - 1
    known = datasets.Provenance(
        environment=ENV,
        observation_space=described.text_of(env.observation_space),
        action_space=described.text_of(env.action_space),
    )
    return datasets.make({**arrays, "terminated": ends & False, "truncated": ends}, known)


# ---- layouts of others ---------------------------------------------------------------


def episodes(data):
    """The arrays of each episode."""
    names = ("obs", "action", "env_reward", "next_obs")
    for start, stop, _ in data.episodes():
        yield [np.asarray(getattr(data.steps, name))[start:stop] for name in names]


def ogbench(data, folder):
    """A row for each observation; `masks`, as of a set for one task."""
    rows = [
        (
            np.append(obs, after[-1:], axis=0),
            np.append(action, action[-1:], axis=0),
            np.append(reward, 0.0),
        )
        for obs, action, reward, after in episodes(data)
    ]
    obs, action, reward = (np.concatenate(each) for each in zip(*rows, strict=True))
    ends = np.arange(len(obs)) % (STEPS + 1) == STEPS
    fields = {"observations": obs, "actions": action, "rewards": reward.astype(np.float32)}
    np.savez(folder / "ogbench.npz", **fields, terminals=ends, masks=np.ones(len(obs)))
    return folder / "ogbench.npz"


def robomimic(data, folder):
    """A group for each demonstration, with `next_obs`."""
    with h5py.File(folder / "robomimic.hdf5", "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps({"env_name": "Pendulum"})
        for i, (obs, action, reward, after) in enumerate(episodes(data)):
            fields = {"obs/all": obs, "next_obs/all": after, "actions": action, "rewards": reward}
            for name, value in fields.items():
                file[f"data/demo_{i}/{name}"] = value
            file[f"data/demo_{i}/dones"] = np.arange(len(reward)) == len(reward) - 1
    return folder / "robomimic.hdf5"


def d3rlpy(data, folder):
    """As many rows as steps: no last observation."""
    with h5py.File(folder / "d3rlpy.h5", "w") as file:
        for i, (obs, action, reward, _) in enumerate(episodes(data)):
            fields = {"observations": obs, "actions": action, "rewards": reward[:, None]}
            for name, value in fields.items():
                file[f"{name}_{i}"] = value
            file[f"terminated_{i}"] = False
        file["num_episodes"], file["version"] = EPISODES, b"2.1"
    return folder / "d3rlpy.h5"


def old_d4rl(data, folder):
    """D4RL without `next_observations`, as before its version 2."""
    steps = data.steps
    with h5py.File(folder / "old.hdf5", "w") as file:
        file["observations"], file["actions"] = steps.obs, steps.action
        file["rewards"], file["terminals"] = steps.env_reward, steps.terminated
        file["timeouts"] = steps.truncated
    return folder / "old.hdf5"


def written(data, folder):
    """Where the set lies in each format, by name."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari")
    datasets.write(data, "minari:pendulum-v0")
    return {
        "npz": datasets.write(data, f"npz:{folder / 'ours.npz'}"),
        "d4rl": datasets.write(data, f"d4rl:{folder / 'd4rl.hdf5'}"),
        "minari": "minari:pendulum-v0",
        "ogbench": ogbench(data, folder),
        "robomimic": robomimic(data, folder),
        "d3rlpy": d3rlpy(data, folder),
        "d4rl without next_observations": old_d4rl(data, folder),
    }


# ---- what is learnt ------------------------------------------------------------------


def learnt(data, updates):
    """A checksum of IQL's parameters after so many updates."""
    agent = agents.make("iql", ENV, data=data, hidden=(32, 32), batch_size=64, updates=100)
    size = {"seeds": 1, "total_steps": updates, "evals": 1, "eval_episodes": 1}
    result = training.train(agent, **size, progress=False)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(result.state.params):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def compared(updates=UPDATES):
    """By format: rows, the data's checksum, and that of what IQL learnt from them."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {}
        for name, source in written(recorded(), Path(folder)).items():
            data = datasets.read(source)
            found[name] = len(data), data.provenance.checksum, learnt(data, updates)
    return found


def table(found, updates):
    """What was found, in Markdown."""
    lines = [
        "# One recorded set in several formats",
        "",
        f"`python scripts/bench/data_formats.py`: {EPISODES} episodes of {STEPS} random steps of",
        f"Pendulum, each ended by the clock; IQL with {updates:,} updates from each. Checksums:",
        "",
        "| format | rows | data | IQL's parameters |",
        "| --- | --- | --- | --- |",
    ]
    for name, (rows, data, params) in found.items():
        lines.append(f"| {name} | {rows} | `{data[:12]}` | `{params[:12]}` |")
    lines += [
        "",
        "The last two do not hold where an episode led that the clock ended: its last step is",
        "left out of the data, a row an episode, so that other rows are drawn. They agree.",
    ]
    return "\n".join(lines) + "\n"


def main():
    """Prints the table, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    text = table(compared(args.updates), args.updates)
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
