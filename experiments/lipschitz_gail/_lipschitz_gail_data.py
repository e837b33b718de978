"""Of the experiment `lipschitz_gail`: tasks, their experts, and what these show.

    FOLDER/data/TASK.npz    whole episodes of an expert, trained on the task's own reward

The imitator's discriminator is shown some steps of some of the episodes; all of them
say what the expert returns.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from jaxrl_reward.training.experiments.experiment import Arm, Preset

RECORDED = 32  # episodes of an expert


@dataclass(frozen=True)
class Task:
    """A task and its expert.

    Attributes:
      env: its name.
      expert: the agent.
      steps: of the expert's training.
      settings: the expert's.
      shown: how many episodes the discriminator is shown, and each how many-th step.
      actions: how many, where they are discrete.
      greedy: whether the expert plays its likeliest actions.
      episodes: that are recorded.
    """

    env: str
    expert: str
    steps: int
    settings: Mapping[str, Any]
    shown: tuple[int, int]
    actions: int = 1
    greedy: bool = True
    episodes: int = RECORDED

    @property
    def slug(self) -> str:
        """Its name in files and arms: `hopper` for `brax:hopper`."""
        return self.env.split(":")[-1].split(",")[0]

    def gail(self, **settings: Any) -> str:
        """The reward's text, with a place for the demonstrations."""
        episodes, every = self.shown
        given = {"episodes": episodes, "every": every, "actions": self.actions, **settings}
        words = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return f"gail(demos={{demos}}, {words})"


_SMALL = {"num_envs": 4, "updates": 4, "batch_size": 128, "hidden": (64, 64)}
_LARGE = {"num_envs": 8, "updates": 8, "hidden": (256, 256), "buffer_size": 1_000_000}
_POLE = {"num_envs": 8, "hidden": (64, 64)}

PENDULUM = Task("gymnax:Pendulum-v1", "sac", 16_000, _SMALL, shown=(4, 20))
CHEETAH = Task(
    "brax:halfcheetah,episode_length=250",
    "sac",
    24_000,
    {**_SMALL, "num_envs": 8, "updates": 8, "batch_size": 64, "normalize_obs": True},
    shown=(4, 20),
    episodes=16,
)
POLE = Task("gymnax:CartPole-v1", "ppo", 150_000, _POLE, shown=(4, 20), actions=2)
CLIFF = Task(
    "tabular:windy_cliff,wind=0,fall=0,max_steps_in_episode=50",
    "ppo",
    100_000,
    _POLE,
    shown=(8, 1),
    actions=4,
)
SMALLEST = Task(
    "gymnax:Pendulum-v1,max_steps_in_episode=20",
    "sac",
    64,
    {"num_envs": 2, "batch_size": 8, "hidden": (8,), "learning_starts": 32},
    shown=(2, 4),
    episodes=4,
)
LOCOMOTION = tuple(
    Task(f"brax:{name}", "sac", 1_000_000, {**_LARGE, "normalize_obs": True}, shown=(4, 20))
    for name in ("hopper", "walker2d", "halfcheetah", "ant")
)
TASKS = (CHEETAH, PENDULUM, POLE, CLIFF, SMALLEST, *LOCOMOTION)


@dataclass(frozen=True)
class Known:
    """What is known of a task.

    Attributes:
      random: mean return of uniform actions.
      expert: mean return of the recorded episodes.
      length: their mean length.
    """

    random: float
    expert: float
    length: float = field(default=0.0)


def prepare(arms: Sequence[Arm], preset: Preset, folder: Path) -> dict[str, Any]:
    """The path of the demonstrations for each arm."""
    del preset
    played = {arm.env for arm in arms}
    tasks = [task for task in TASKS if task.env in played]
    # Most of the time goes into compiling, which takes one core each.
    with ThreadPoolExecutor(len(tasks)) as threads:
        paths = list(threads.map(lambda task: recorded(task, folder / "data"), tasks))
    made = {task.env: path for task, path in zip(tasks, paths, strict=True)}
    return {arm.name: made[str(arm.env)] for arm in arms}


def recorded(task: Task, folder: Path) -> Path:
    """The file of an expert's episodes; what is in the folder is used again."""
    from jaxrl_reward import agents, collecting
    from jaxrl_reward import data as datasets

    path = folder / f"{task.slug}.npz"
    if not path.exists():
        settings = collecting.Settings(
            episodes=task.episodes,
            total_steps=task.steps,
            evals=1,
            eval_episodes=4,
            num_envs=task.episodes,
            greedy=task.greedy,
        )
        agent = agents.make(task.expert, task.env, **task.settings)
        found = collecting.collect(agent, ("expert",), settings, progress=False)
        datasets.save(found.datasets["expert"], path)
    return path


def known(reward: Any) -> Known:
    """Of the task whose demonstrations an expression is made of."""
    while reward.children():
        reward = reward.children()[0]
    from jaxrl_reward.data import formats

    return _known(reward.demos, formats.stamp(reward.demos))


@lru_cache(maxsize=16)
def _known(path: str, stamp: Any) -> Known:
    from jaxrl_reward import data as datasets

    del stamp  # of the file: another one is read anew
    data = datasets.read(path)
    low = data.provenance.random_return
    assert low is not None  # it is ours
    return Known(low, float(data.returns().mean()), float(data.lengths().mean()))
