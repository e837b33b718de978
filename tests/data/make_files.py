"""Files of a counter, written by the libraries whose formats are read: `make_files.py FOLDER NAME`.

Run by hand with the library installed; what it wrote lies in `files/`, see the README there.
Episode e of the counter begins at 10 e: its observation is [10 e + t, -t], the action of step
t is t / 8, the reward 100 e + t. Episode 0 terminates in its third step, episode 1 is truncated
by a clock in its fourth, and episode 2 is cut after its second.
"""

import pickle
import sys
from pathlib import Path

import numpy as np

LENGTHS = (3, 4, 2)


def episode(number):
    """Observations (T + 1), actions and rewards (T)."""
    steps = LENGTHS[number]
    t = np.arange(steps + 1)
    obs = np.stack([10 * number + t, -t], axis=1).astype(np.float32)
    action = (t[:-1, None] / 8).astype(np.float32)
    return obs, action, (100 * number + t[:-1]).astype(np.float32)


def image(number):
    """Observations as images of 4 x 5 bytes in 3 colours, T + 1 of them."""
    obs = episode(number)[0]
    return np.broadcast_to(obs[:, :1, None, None], (len(obs), 4, 5, 3)).astype(np.uint8)


def d3rlpy(folder):
    """ReplayBuffers: continuous, discrete and of images."""
    import d3rlpy as library
    from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer

    def dump(name, obs, act):
        found = [
            Episode(obs(i)[:-1], act(i), episode(i)[2][:, None], terminated=i == 0)
            for i in range(3)
        ]
        with open(folder / name, "w+b") as file:
            ReplayBuffer(InfiniteBuffer(), episodes=found).dump(file)

    dump("d3rlpy.h5", lambda i: episode(i)[0], lambda i: episode(i)[1])
    dump("d3rlpy-discrete.h5", lambda i: episode(i)[0], lambda i: np.arange(LENGTHS[i])[:, None])
    dump("d3rlpy-images.h5", image, lambda i: episode(i)[1])

    def pair(i):
        obs = episode(i)[0]
        return obs, np.concatenate([obs, obs], axis=1)

    found = [
        Episode(tuple(x[:-1] for x in pair(i)), episode(i)[1], episode(i)[2][:, None], i == 0)
        for i in range(3)
    ]
    with open(folder / "d3rlpy-tuple.h5", "w+b") as file:
        ReplayBuffer(InfiniteBuffer(), episodes=found).dump(file)
    return library.__version__


def sb3(folder):
    """Replay buffers of two environments: half full, round, compact, of Dict and Discrete."""
    import stable_baselines3 as library
    from gymnasium import spaces
    from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
    from stable_baselines3.common.save_util import save_to_pkl

    box = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def fill(buffer, act, see=lambda obs: obs):
        # Environment 0 plays episodes 0 and 2; environment 1 plays 1, then 0's beginning.
        streams = [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)], [(1, t) for t in range(4)] + [(0, 0)]
        for pair in zip(*streams, strict=True):
            rows = [(episode(i), t) for i, t in pair]
            obs = np.stack([e[0][t] for e, t in rows])
            after = np.stack([e[0][t + 1] for e, t in rows])
            done = np.array([p in ((0, 2), (1, 3)) for p in pair])
            infos = [{"TimeLimit.truncated": p == (1, 3)} for p in pair]
            action = np.stack([act(e, t) for e, t in rows])
            reward = np.array([e[2][t] for e, t in rows])
            buffer.add(see(obs), see(after), action, reward, done, infos)
        return buffer

    def unit(e, t):
        return e[1][t]

    two = {"n_envs": 2, "device": "cpu"}
    wide = spaces.Box(-2, 2, (1,), np.float32)
    made = {
        "sb3": fill(ReplayBuffer(20, box, wide, **two), unit),
        "sb3-round": fill(ReplayBuffer(8, box, wide, **two), unit),
        "sb3-compact": fill(
            ReplayBuffer(
                20,
                box,
                wide,
                optimize_memory_usage=True,
                handle_timeout_termination=False,
                **two,
            ),
            unit,
        ),
        "sb3-discrete": fill(
            ReplayBuffer(20, box, spaces.Discrete(4), **two), lambda e, t: np.array([t])
        ),
        "sb3-dict": fill(
            DictReplayBuffer(
                20,
                spaces.Dict({"b": box, "a": spaces.Box(-9, 9, (1,), np.float32)}),
                wide,
                **two,
            ),
            unit,
            lambda obs: {"b": obs, "a": obs[:, 1:]},
        ),
    }
    several = spaces.MultiDiscrete([25, 5])
    made["sb3-several"] = fill(
        ReplayBuffer(20, several, spaces.MultiBinary(2), **two),
        lambda e, t: np.array([t % 2, t // 2]),
        lambda obs: np.abs(obs).astype(np.int64),
    )
    for name, buffer in made.items():
        buffer.observation_space.sample()  # which makes a generator, and is pickled too
        save_to_pkl(folder / f"{name}.pkl", buffer)
    with open(folder / "not-sb3.pkl", "wb") as file:
        pickle.dump(spaces.Box(0, 1, (2,), np.float32), file)
    return library.__version__


def imitation(folder):
    """Trajectories with rewards."""
    from importlib.metadata import version

    from imitation.data import serialize
    from imitation.data.types import TrajectoryWithRew

    def write(name, obs, act):
        found = [
            TrajectoryWithRew(
                obs=obs(i),
                acts=act(i),
                infos=None,
                terminal=i < 2,
                rews=episode(i)[2].astype(np.float64),
            )
            for i in range(3)
        ]
        serialize.save(folder / name, found)

    write("imitation", lambda i: episode(i)[0], lambda i: episode(i)[1])
    write("imitation-images", image, lambda i: np.arange(LENGTHS[i]))
    return version("imitation")


def lerobot(folder):
    """Frames with a state; and with images and a state."""
    from importlib.metadata import version

    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    state = {"dtype": "float32", "shape": (2,), "names": ["place", "time"]}
    features = {
        "observation.state": state,
        "action": {"dtype": "float32", "shape": (1,), "names": ["push"]},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    }
    seen = {"dtype": "image", "shape": (4, 5, 3), "names": ["height", "width", "channel"]}
    for name, more in (("lerobot", {}), ("lerobot-images", {"observation.image": seen})):
        data = LeRobotDataset.create(
            f"test/{name}", 10, {**features, **more}, root=folder / name, use_videos=False
        )
        for i in range(3):
            obs, action, reward = episode(i)
            for t in range(LENGTHS[i]):
                frame = {
                    "observation.state": obs[t],
                    "action": action[t],
                    "next.reward": reward[t : t + 1],
                    "next.done": np.array([i < 2 and t == LENGTHS[i] - 1]),
                    "task": "count",
                }
                data.add_frame({**frame, **({"observation.image": image(i)[t]} if more else {})})
            data.save_episode()
        data.finalize()
    return version("lerobot")


def ogbench(folder):
    """A raw file as its collectors write it, and what its loader makes of that."""
    from importlib.metadata import version

    from ogbench.utils import load_dataset

    obs = np.concatenate([episode(i)[0] for i in range(3)])
    act = np.concatenate([np.append(episode(i)[1], [[9]], axis=0) for i in range(3)])
    ends = np.cumsum(np.add(LENGTHS, 1)) - 1
    raw = {"observations": obs.astype(np.float64), "actions": act.astype(np.float64)}
    raw |= {"terminals": np.isin(np.arange(len(obs)), ends), "qpos": obs}
    np.savez(folder / "ogbench-raw.npz", **raw)
    for name, compact in (("plain", False), ("compact", True)):
        found = load_dataset(folder / "ogbench-raw.npz", compact_dataset=compact)
        np.savez(folder / f"ogbench-{name}.npz", **found)
    return version("ogbench")


def rlds(folder):
    """Episodes as TensorFlow Datasets writes them, with a state and images."""
    import tensorflow_datasets as library
    from etils import epath

    kinds = library.features

    class Rlds(library.core.GeneratorBasedBuilder):
        VERSION = library.core.Version("1.0.0")
        pkg_dir_path = epath.Path(folder)

        def _info(self):
            seen = {
                "state": kinds.Tensor(shape=(2,), dtype=np.float32),
                "image": kinds.Image(shape=(4, 5, 3)),
            }
            step = {"observation": kinds.FeaturesDict(seen), "reward": np.float32}
            step["action"] = kinds.Tensor(shape=(1,), dtype=np.float32)
            step |= {
                "discount": np.float32,
                "is_first": np.bool_,
                "is_last": np.bool_,
                "is_terminal": np.bool_,
            }
            about = kinds.FeaturesDict({"steps": kinds.Dataset(step), "episode_id": np.int64})
            return self.dataset_info_from_configs(features=about)

        def _split_generators(self, download_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i in range(3):
                obs, action, reward = episode(i)
                steps = [
                    {
                        "observation": {"state": obs[t], "image": image(i)[t]},
                        "action": action[t] if t < LENGTHS[i] else np.full(1, 9, np.float32),
                        "reward": reward[t] if t < LENGTHS[i] else np.float32(9),
                        "discount": np.float32(t < LENGTHS[i] or i > 0),
                        "is_first": t == 0,
                        "is_last": t == LENGTHS[i] and i < 2,
                        "is_terminal": t == LENGTHS[i] and i == 0,
                    }
                    for t in range(LENGTHS[i] + 1)
                ]
                yield i, {"steps": steps, "episode_id": i}

    Rlds(data_dir=folder).download_and_prepare()
    return library.__version__


def main():
    """Writes the files of one library."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    made = {f.__name__: f for f in (d3rlpy, sb3, imitation, lerobot, ogbench, rlds)}
    print(f"{name} {made[name](folder)}")


if __name__ == "__main__":
    main()
