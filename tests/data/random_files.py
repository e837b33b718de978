"""Random but valid files of each format, and what a reader must find in them.

Files are written from episodes by the rules of the formats, with h5py, NumPy and
Minari, and what is right is worked out from the episodes by plain loops: nothing of
the reader is used.
"""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from jaxrl_reward import UserError
from jaxrl_reward import data as datasets
from jaxrl_reward.data.fields import FIELDS

FLOATS = (np.float32, np.float64, np.float16)
FLAGS = (np.bool_, np.uint8, np.float32, np.float64, np.int64)


@dataclasses.dataclass
class Episode:
    """T steps: `obs` has T + 1 rows, `goal` says at which steps the task is over."""

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    goal: np.ndarray
    end: str  # goal, clock, both; or cut


@dataclasses.dataclass
class Case:
    """A file, and what is to be found in it: a list of steps, or one of some refusals."""

    source: str
    steps: list[dict[str, Any]]
    returns: list[float]
    lengths: list[int]
    refusals: tuple[str, ...] = ()


# ---- episodes ----------------------------------------------------------------------


def values(rng, shape, kind):
    """Numbers that float32 or uint8 holds, or that it rounds as all of its kind."""
    if kind == np.uint8:
        return rng.integers(0, 256, shape).astype(kind)
    if np.dtype(kind).kind == "i":
        return rng.integers(-1000, 1000, shape).astype(kind)
    if kind == np.bool_:
        return rng.random(shape) < 0.5
    return rng.normal(size=shape).astype(kind)


def episodes(rng, stays=False):
    """One to five episodes, all of them of one kind.

    Args:
      rng: what is drawn from.
      stays: whether steps are at the goal anywhere; else only where an episode ends.
    """
    shape = [(), (1,), (3,), (2, 2), (4, 3, 1)][rng.integers(5)]
    kind = (*FLOATS, np.uint8, np.int16, np.int64, np.bool_)[rng.integers(7)]
    act = [(1,), (2,), ()][rng.integers(3)]
    act_kind = (*FLOATS, np.int64, np.int32)[rng.integers(5)]
    pay_kind = (np.float32, np.float64, np.int64)[rng.integers(3)]
    same = rng.random() < 0.1  # of all observations
    found = []
    count = int(rng.integers(1, 6))
    for i in range(count):
        steps = int(rng.integers(1, 7))
        obs = values(rng, (steps + 1, *shape), kind)
        if same:
            obs = np.zeros_like(obs)
        ends = ["clock"] if stays else ["goal", "clock", "both"]
        end = str(rng.choice(ends))
        if i == count - 1 and rng.random() < 0.3:
            end = "cut"
        goal = np.zeros(steps, bool)
        if stays:
            goal[rng.integers(0, steps + 1) :] = True
            goal &= rng.random(steps) < 0.9  # some leave it again
        goal[-1] |= end in ("goal", "both")
        action = values(rng, (steps, *act), act_kind)
        found.append(Episode(obs, action, values(rng, steps, pay_kind), goal, end))
    return found


def steps_of(found):
    """The steps that are in the episodes, one dictionary each."""
    listed = []
    for episode in found:
        count = len(episode.reward)
        for t in range(count):
            last = t == count - 1
            listed.append(
                {
                    "obs": episode.obs[t],
                    "action": episode.action[t],
                    "reward": episode.reward[t],
                    "next_obs": episode.obs[t + 1],
                    "first": t == 0,
                    "terminated": bool(episode.goal[t]),
                    "truncated": last and episode.end in ("clock", "both"),
                    "over": last and (episode.end != "cut"),
                    "end_of_file": False,
                }
            )
    listed[-1]["end_of_file"] = True
    return listed


def sums_of(found):
    whole = [each for each in found if each.end != "cut" or each.goal[-1]]
    returns = [sum(float(np.float32(r)) for r in each.reward) for each in whole]
    return returns, [len(each.reward) for each in whole]


def without_successors(steps):
    """What is left of steps of which the next row is all that says where they led."""
    kept = []
    for step in steps:
        alone = step["over"] or step["end_of_file"]
        if alone and not step["terminated"]:
            if step["truncated"] and kept and not step["first"]:
                kept[-1]["truncated"] = True
            continue
        kept.append({**step, "next_obs": None if alone else step["next_obs"]})
    return kept


# ---- layouts -----------------------------------------------------------------------


def flags(rng, listed):
    kind = FLAGS[rng.integers(len(FLAGS))]
    found = np.array(listed).astype(kind)
    return found[:, None] if rng.random() < 0.3 else found


def column(rng, rows):
    return rows[:, None] if rng.random() < 0.3 else rows


def beyond(rng, found, paid=True):
    """Now and then, a number that the reader's types do not hold; what it may then say."""
    if rng.random() > 0.04:
        return ()
    episode = found[rng.integers(len(found))]
    name = str(rng.choice(["obs", "action", *["reward"] * paid]))
    whole = rng.random() < 0.5
    value = (2**24 + 1 if name != "action" else 2**32 + 5) if whole else 1e39
    kind = np.int64 if whole else np.float64
    for each in found:
        setattr(each, name, getattr(each, name).astype(kind))
    rows = getattr(episode, name)
    rows[rng.integers(len(rows))] = value
    return ("goes beyond", "has whole numbers beyond")


def write_hdf5(rng, path, arrays):
    with h5py.File(path, "w") as file:
        for name, rows in arrays.items():
            packed = rows.ndim > 0 and len(rows) > 0 and rng.random() < 0.2
            more = {"chunks": True, "compression": "gzip"} if packed else {}
            file.create_dataset(name, data=rows, **more)
        if rng.random() < 0.5:
            file["infos/qpos"] = np.zeros((len(arrays["rewards"]), 2))
            file["infos/goal"] = np.zeros((len(arrays["rewards"]), 2))
            file["metadata/algorithm"] = "SAC"
            file["metadata/policy/nonlinearity"] = b"relu"


def d4rl(rng, folder):
    """One row a step; `terminals`, `timeouts`, and in some files `next_observations`."""
    stays = rng.random() < 0.35
    found = episodes(rng, stays)
    refusals = beyond(rng, found)
    steps = steps_of(found)
    name = "antmaze-umaze-v2" if stays and rng.random() < 0.5 else "hopper_medium-v2"
    option = ",ends=timeouts" if stays and name[0] == "h" else ""
    arrays: dict[str, Any] = {
        "observations": np.stack([step["obs"] for step in steps]),
        "actions": np.stack([step["action"] for step in steps]),
        "rewards": column(rng, np.stack([step["reward"] for step in steps])),
        "terminals": flags(rng, [step["terminated"] for step in steps]),
        "timeouts": flags(rng, [step["truncated"] for step in steps]),
    }
    clock = rng.random()
    if clock < 0.25:
        option, refusals, steps = _without_timeouts(found, arrays, option, refusals, stays, name)
    elif not stays and rng.random() < 0.2:
        option = ",ends=both"
    if not stays and "ends=" not in option:
        ends = [step["terminated"] and not step["truncated"] for step in steps]
        pairs = zip(ends, [step["terminated"] for step in steps][1:], strict=False)
        if any(one and other for one, other in pairs):
            refusals += ("terminals is 1 in rows",)
    if rng.random() < 0.5:
        arrays["next_observations"] = np.stack([step["next_obs"] for step in steps])
        expected = steps
    else:
        expected = without_successors(steps)
        if not expected:
            refusals += ("have no row that has a successor",)
    if rng.random() < 0.6:
        path = folder / f"{name}.hdf5"
        write_hdf5(rng, path, arrays)
    else:
        path = folder / f"{name}.npz"
        np.savez(path, **arrays)
    return Case(f"{path}{option}", expected, *sums_of(found), refusals)


def _without_timeouts(found, arrays, option, refusals, stays, name):
    """The clock is left out: of a length that is told, or where there was none, or unsaid."""
    del arrays["timeouts"]
    steps = steps_of(found)
    limit = len(found[0].reward)
    by_clock = [len(each.reward) == limit for each in found if each.end in ("clock", "both")]
    short = [len(each.reward) < limit for each in found if each.end in ("goal", "cut")]
    if stays:
        ends = [each.end for each in found]
        if "cut" in ends[:-1] or not all(by_clock) or not all(short):
            return "", (*refusals, "has no field 'timeouts'"), steps
        words = "" if name.startswith("ant") else ",ends=timeouts"
        return f",max_steps={limit}{words}", refusals, steps
    if all(by_clock) and all(short) and by_clock:
        return f",max_steps={limit}", refusals, steps
    if not by_clock:
        return ",ends=terminals", refusals, steps
    return option, (*refusals, "has no field 'timeouts'"), steps


def ogbench(rng, folder):
    """Trajectories that are cut; raw, compact, or with successors; some for one task."""
    found = episodes(rng, stays=True)
    for each in found:
        each.end = "clock"
    single = rng.random() < 0.6
    if not single:
        for each in found:
            each.goal[:] = False
            each.reward = np.zeros(len(each.reward), np.float32)
    refusals = beyond(rng, found, single)
    steps = steps_of(found)
    form = str(rng.choice(["raw", "compact", "steps"]))
    rows = {name: [] for name in ("observations", "actions", "rewards", "masks")}
    ends, valid = [], []
    for each in found:
        count, more = len(each.reward), form != "steps"
        rows["observations"] += list(each.obs if more else each.obs[:-1])
        nowhere = [values(rng, each.action.shape[1:], each.action.dtype.type)] * more
        rows["actions"] += [*each.action, *nowhere]
        rows["rewards"] += [*each.reward, *[each.reward.dtype.type(7)] * more]
        rows["masks"] += [*(~each.goal), *[bool(rng.random() < 0.5)] * more]
        tail = {"raw": [0] * count + [1], "compact": [0] * (count - 1) + [1, 1]}
        ends += tail.get(form, [0] * (count - 1) + [1])
        valid += [1] * count + [0] * more
    arrays: dict[str, Any] = {name: np.stack(rows[name]) for name in ("observations", "actions")}
    arrays["terminals"] = flags(rng, ends)
    if form == "compact":
        arrays["valids"] = flags(rng, valid)
    if form == "steps":
        arrays["next_observations"] = np.stack([step["next_obs"] for step in steps])
    if single:
        arrays["rewards"] = column(rng, np.stack(rows["rewards"]))
        arrays["masks"] = flags(rng, rows["masks"])
    elif rng.random() < 0.7:
        arrays["qpos"] = np.zeros((len(ends), 3))
    path = folder / "antmaze-large-navigate-v0.npz"
    np.savez(path, **arrays)
    return Case(str(path), steps, *sums_of(found), refusals)


def minaris(rng, folder):
    """By Minari itself, in a store of its own, with spaces of several kinds."""
    del folder
    kind = str(rng.choice(["box", "bytes", "dict", "discrete", "tuple"]))
    act_kind = str(rng.choice(["box", "discrete", "grid"]))
    start = int(rng.integers(-2, 3))
    space, seen = {
        "box": (spaces.Box(-np.inf, np.inf, (3,), np.float32), lambda x: x[0]),
        "bytes": (spaces.Box(0, 255, (2, 2), np.uint8), lambda x: x[0]),
        "discrete": (spaces.Discrete(4, start=start), lambda x: np.eye(4)[x[0] - start]),
        "dict": (
            spaces.Dict({"b": spaces.Discrete(4, start=start), "a": spaces.Box(-9, 9, (2,))}),
            lambda x: np.concatenate([x[1], np.eye(4)[x[0] - start]], axis=1),
        ),
        "tuple": (
            spaces.Tuple((spaces.Discrete(4, start=start), spaces.Box(-9, 9, (2,)))),
            lambda x: np.concatenate([np.eye(4)[x[0] - start], x[1]], axis=1),
        ),
    }[kind]
    acted = {
        "box": spaces.Box(-1, 1, (2,), np.float32),
        "discrete": spaces.Discrete(3, start=start),
        "grid": spaces.Box(-5, 5, (2,), np.int64),
    }[act_kind]
    found, buffers = [], []
    for i in range(int(rng.integers(1, 5))):
        count = int(rng.integers(1, 6))
        index = rng.integers(start, start + 4, count + 1)
        place = rng.uniform(-1, 1, (count + 1, 2)).astype(np.float32)
        parts = {
            "box": (rng.normal(size=(count + 1, 3)).astype(FLOATS[rng.integers(2)]),),
            "bytes": (values(rng, (count + 1, 2, 2), np.uint8),),
            "discrete": (index,),
        }.get(kind, (index, place))
        written = {"dict": {"a": place, "b": index}, "tuple": (index, place)}.get(kind, parts[0])
        action = {
            "box": rng.uniform(-1, 1, (count, 2)).astype(np.float32),
            "discrete": rng.integers(start, start + 3, count),
            "grid": rng.integers(-5, 6, (count, 2)),
        }[act_kind]
        end = str(rng.choice(["goal", "clock", "both", "cut"]))
        goal = np.zeros(count, bool)
        goal[-1] = end in ("goal", "both")
        if end != "goal" and rng.random() < 0.3:  # stands at its goal
            goal |= rng.random(count) < 0.5
        clock = (np.arange(count) == count - 1) & (end in ("clock", "both"))
        reward = values(rng, count, np.float64)
        shown = action - start if act_kind == "discrete" else action
        found.append(Episode(seen(parts), shown, reward, goal, end))
        buffers.append(
            EpisodeBuffer(
                id=i,
                observations=written,
                actions=action,
                rewards=reward.tolist(),
                terminations=goal.tolist(),
                truncations=clock.tolist(),
            )
        )
    name = f"random/{kind}-v{minaris.count}"
    minaris.count += 1
    minari.create_dataset_from_buffers(
        name, buffers, observation_space=space, action_space=acted, jpeg_encoding=False
    )
    return Case(f"minari:{name}", steps_of(found), *sums_of(found))


minaris.count = 0


def ours(rng, folder):
    """By this package: what it was given, it gives back."""
    found = episodes(rng, stays=rng.random() < 0.5)
    steps = steps_of(found)
    names = ("obs", "action", "reward", "next_obs", "first", "terminated", "truncated")
    arrays = {name: np.stack([np.asarray(step[name]) for step in steps]) for name in names}
    path = datasets.save(datasets.make(arrays), folder / "ours.npz")
    return Case(str(path), steps, *sums_of(found))


LAYOUTS = {"d4rl": d4rl, "ogbench": ogbench, "ours": ours, "minari": minaris}
SHARES = {"d4rl": 0.6, "ogbench": 0.3, "ours": 0.07, "minari": 0.03}


# ---- judgement ---------------------------------------------------------------------


def judged(case):
    """`right`, or what the reader said in refusing.

    Raises:
      AssertionError: it read something else, or refused what it should not have.
    """
    try:
        data = datasets.read(case.source)
    except UserError as error:
        line = str(error)
        assert "\n" not in line
        assert any(each in line for each in case.refusals), line
        return next(each for each in case.refusals if each in line)
    got = {name: np.asarray(getattr(data.steps, name)) for name in FIELDS}
    assert len(data) == len(case.steps)
    unknown = False
    for row, step in enumerate(case.steps):
        for name in ("first", "terminated", "truncated"):
            assert got[name][row] == step[name], (name, row)
        unknown |= step["next_obs"] is None
        for name in ("obs", "action", "reward", "next_obs"):
            if step[name] is not None:
                assert same(got[name][row], step[name]), (name, row)
    assert data.provenance.terminal_next_obs is not unknown
    np.testing.assert_array_equal(data.lengths(), case.lengths)
    np.testing.assert_allclose(data.returns(), case.returns, rtol=1e-12, atol=1e-9)
    return "right"


def same(got, given):
    """Whole numbers to the last digit, real ones as float32 rounds them."""
    given = np.asarray(given)
    if given.dtype.kind == "f":
        with np.errstate(over="ignore"):
            given = given.astype(np.float32)
        return bool(np.isfinite(given).all()) and np.array_equal(got, given)
    return np.array_equal(got.astype(np.float64), given.astype(np.float64))


def run(layout, seed, numbers, folder):
    """Writes and reads so many files; how often each thing came out, and what is wrong."""
    tally, wrong = Counter(), []
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        case = LAYOUTS[layout](rng, Path(folder))
        try:
            tally[judged(case)] += 1
        except Exception as error:
            line = re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")
            wrong.append(json.dumps([layout, seed, number, line[:300]]))
    return tally, wrong
