"""Files of a counter that other libraries wrote, read and compared field by field."""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from jaxrl_reward import UserError
from jaxrl_reward import data as datasets
from jaxrl_reward.cli.commands import listing
from jaxrl_reward.data import formats

sys.path.insert(0, str(Path(__file__).parent))
from make_files import LENGTHS, episode, image

h5py = pytest.importorskip("h5py")  # the extra `dev` installs it

FILES = Path(__file__).parent / "files"
TERMINATED, TRUNCATED = (0,), (1,)  # episodes; the third is cut


def steps(episodes=(0, 1, 2), drop=(), over=TERMINATED, clock=TRUNCATED, repeat=False, spans=None):
    """The counter's steps as arrays: what is to be found in a file.

    Args:
      episodes: in this order.
      drop: those whose last step has no successor, and is left out.
      over: those that terminate.
      clock: those that are truncated; of a dropped step, the one before it is.
      repeat: the last observation of an episode stands for its successor.
      spans: by episode, which of its steps there are.
    """
    rows = {name: [] for name in ("obs", "action", "reward", "next_obs")}
    flags = {name: [] for name in ("first", "terminated", "truncated")}
    for i in episodes:
        obs, action, reward = episode(i)
        whole = range(LENGTHS[i])
        kept = list((spans or {}).get(i, whole))
        if i in drop:
            kept = kept[:-1]
        for t in kept:
            last = t == kept[-1]
            alone = repeat and t == LENGTHS[i] - 1
            for name, value in zip(rows, (obs[t], action[t], reward[t]), strict=False):
                rows[name].append(value)
            rows["next_obs"].append(obs[t] if alone else obs[t + 1])
            flags["first"].append(t == kept[0])
            flags["terminated"].append(last and i in over and i not in drop)
            flags["truncated"].append(last and i in clock)
    return {name: np.stack(each) for name, each in rows.items()} | {
        name: np.array(each) for name, each in flags.items()
    }


def check(source, expected, returns=None, **options):
    """Reads it, and compares every field; returns the data."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = datasets.read(source, **options)
    for name, value in expected.items():
        got = getattr(found.steps, name)
        np.testing.assert_array_equal(got, value, err_msg=name)
    if returns is not None:
        np.testing.assert_array_equal(found.returns(), returns)
    return found


def scaled(expected, factor):
    return {**expected, "action": np.float32(factor) * expected["action"]}


# ---- d3rlpy ------------------------------------------------------------------------


def test_d3rlpy(tmp_path):
    """It knows no clock beside the end of a file: truncated and cut episodes are one thing."""
    expected = steps(drop=(1, 2), clock=(1, 2))
    expected["next_obs"][2] = expected["obs"][2]  # where the termination led is not in the file
    found = check(FILES / "d3rlpy.h5", expected, [3, 406, 401])
    about = found.provenance
    assert (about.format, about.format_version) == ("d3rlpy", "2.1")
    assert about.assumed[0].startswith("2 last steps of episodes have no successor")
    assert not about.terminal_next_obs
    kept = steps(clock=(1, 2), repeat=True)
    check(FILES / "d3rlpy.h5", kept, [3, 406, 401], missing="repeat")
    with pytest.raises(UserError, match="missing must be one of drop, repeat, not 'keep'"):
        datasets.read(f"{FILES / 'd3rlpy.h5'},missing=keep")


def test_d3rlpy_of_other_spaces():
    found = datasets.read(FILES / "d3rlpy-discrete.h5")
    assert found.steps.action.dtype == np.int32
    np.testing.assert_array_equal(found.steps.action, [0, 1, 2, 0, 1, 2, 0])
    found = datasets.read(FILES / "d3rlpy-images.h5")
    assert found.steps.obs.dtype == np.uint8
    np.testing.assert_array_equal(found.steps.obs[3], image(1)[0])
    found = datasets.read(FILES / "d3rlpy-tuple.h5")
    assert [(each.name, each.start, each.shape) for each in found.parts()] == [
        ("0", 0, (2,)),
        ("1", 2, (4,)),
    ]
    np.testing.assert_array_equal(found.steps.obs[3], np.tile(episode(1)[0][0], 3))


# ---- Stable-Baselines3 -------------------------------------------------------------


def streams(**more):
    """Environment 0 plays episode 0 and begins 2; environment 1 plays 1 and begins 0 again."""
    begun = steps(episodes=(0,), over=(), spans={0: [0]})
    return {
        name: np.concatenate([value, begun[name]])
        for name, value in steps(episodes=(0, 2, 1), **more).items()
    }


@pytest.mark.parametrize("name", ["sb3", "sb3-dict"])
def test_sb3(name):
    """Actions were kept from -1 to 1, of a Box from -2 to 2."""
    expected = scaled(streams(), 2)
    if name == "sb3-dict":  # its keys are b, the observation, and a, its second number
        for each in ("obs", "next_obs"):
            rows = expected[each]
            expected[each] = np.concatenate([rows[:, 1:], rows], axis=1)
    found = check(FILES / f"{name}.pkl", expected, [3, 406])
    assert found.provenance.format == "sb3"
    assert [e.whole for e in found.episodes()] == [True, False, True, False]
    assert found.provenance.assumed[0].startswith("actions were kept from -1 to 1")
    if name == "sb3-dict":
        assert [each.name for each in found.parts()] == ["a", "b"]


def test_sb3_as_the_agent_sees_it():
    found = check(f"{FILES / 'sb3.pkl'},actions=environment", streams())
    assert found.provenance.assumed == ()


def test_sb3_of_discrete_actions():
    steps_of = datasets.read(FILES / "sb3-discrete.pkl").steps
    np.testing.assert_array_equal(steps_of.action, [0, 1, 2, 0, 1, 0, 1, 2, 3, 0])


def test_sb3_of_several_whole_numbers():
    found = datasets.read(FILES / "sb3-several.pkl")
    obs = streams()["obs"]
    shown = np.concatenate(
        [np.eye(25)[obs[:, 0].astype(int)], np.eye(5)[-obs[:, 1].astype(int)]], 1
    )
    np.testing.assert_array_equal(found.steps.obs, shown)
    np.testing.assert_array_equal(found.steps.action[:3], [[0, 0], [1, 0], [0, 1]])
    assert found.provenance.action_space == '{"kind": "MultiBinary", "shape": [2]}'


def test_a_round_buffer_of_sb3_begins_at_its_oldest_row():
    """It has room for 4 steps of each environment, of 5 that were played."""
    expected = streams(spans={0: [1, 2], 1: [1, 2, 3]})
    check(FILES / "sb3-round.pkl", scaled(expected, 2))


def test_a_compact_buffer_of_sb3_has_no_successor_at_ends():
    """And no word of time limits: they count as terminations."""
    expected = scaled(streams(over=(0, 1), clock=()), 2)
    for row in (2, 8):
        expected["next_obs"][row] = expected["obs"][row]
    found = check(FILES / "sb3-compact.pkl", expected)
    assert "handle_timeout_termination=False" in found.provenance.assumed[0]
    assert not found.provenance.terminal_next_obs


def test_another_pickle_is_named():
    with pytest.raises(UserError, match=r"is a pickle of gymnasium\.spaces\.box\.Box, and no rep"):
        datasets.read(FILES / "not-sb3.pkl")


# ---- imitation ---------------------------------------------------------------------


def test_imitation():
    """It says that an episode was finished, and not by what."""
    found = check(FILES / "imitation", steps(over=(0, 1), clock=()), [3, 406])
    assert found.provenance.assumed[0].startswith("finished trajectories are terminated")
    check(FILES / "imitation", steps(over=(), clock=(0, 1)), ends="truncated")
    found = check(f"{FILES / 'imitation'},max_steps=4", steps())
    assert "trajectories of 4 steps are truncated" in " ".join(found.provenance.assumed)


def test_imitation_of_images():
    found = datasets.read(FILES / "imitation-images").steps
    assert (found.obs.dtype, found.action.dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(found.next_obs[:3], image(0)[1:])
    np.testing.assert_array_equal(found.action, [0, 1, 2, 0, 1, 2, 3, 0, 1])


# ---- LeRobot -----------------------------------------------------------------------


def test_lerobot():
    expected = steps(drop=(0, 1, 2), over=(), clock=(0, 1, 2))
    found = check(FILES / "lerobot", expected, [3, 406, 401])
    assert found.provenance.format_version == "v3.0"
    # Its next.done is true at both ends.
    done = steps(drop=(2,), over=(0, 1), clock=(2,))
    for row in (2, 6):
        done["next_obs"][row] = done["obs"][row]
    check(FILES / "lerobot", done, [3, 406, 401], dones="terminated")


def test_lerobot_of_images():
    where = FILES / "lerobot-images"
    with pytest.raises(UserError, match=r"observation\.image is an image: say which, as in"):
        datasets.read(where)
    found = datasets.read(where, obs="observation.image").steps
    np.testing.assert_array_equal(found.obs[:2], image(0)[:2])
    both = datasets.read(f"{where},obs=observation.state+observation.image")
    assert [each.name for each in both.parts()] == ["observation.image", "observation.state"]
    np.testing.assert_array_equal(both.steps.obs[:, :60], found.obs.reshape(6, 60))
    with pytest.raises(UserError, match=r"no observation 'observation\.imag', did you mean"):
        datasets.read(where, obs="observation.imag")


def test_lerobots_videos_and_older_versions_are_refused_by_name(tmp_path):
    shutil.copytree(FILES / "lerobot-images", tmp_path / "a")
    path = tmp_path / "a" / "meta" / "info.json"
    about = json.loads(path.read_text())
    about["features"]["observation.image"]["dtype"] = "video"
    path.write_text(json.dumps(about))
    line = r"observation\.image is a video, which is not read; say ',obs=observation\.state'"
    with pytest.raises(UserError, match=line):
        datasets.read(tmp_path / "a")
    assert len(datasets.read(tmp_path / "a", obs="observation.state")) == 6
    path.write_text(json.dumps({**about, "codebase_version": "v2.1"}))
    with pytest.raises(UserError, match=r"is LeRobot's format v2\.1; have LeRobot convert it"):
        datasets.read(tmp_path / "a")


# ---- OGBench and RLDS --------------------------------------------------------------


@pytest.mark.parametrize("form", ["raw", "plain", "compact"])
def test_ogbench(form):
    """Trajectories without rewards that are all cut, in the forms that its loader makes."""
    expected = steps(over=(), clock=(0, 1, 2))
    expected["reward"] = np.zeros(9)
    with pytest.warns(UserWarning, match="has no rewards: they are 0"):
        found = datasets.read(FILES / f"ogbench-{form}.npz")
    for name, value in expected.items():
        np.testing.assert_array_equal(getattr(found.steps, name), value, err_msg=name)
    assert found.provenance.format == "ogbench" and len(found.provenance.assumed) == 2


def test_rlds():
    where = FILES / "rlds" / "1.0.0"
    with pytest.raises(UserError, match="image is an image: say which, as in ',obs=state' or"):
        datasets.read(where)
    found = check(f"{where},obs=state", steps(), [3, 406])
    assert (found.provenance.format, found.provenance.format_version) == ("rlds", "1.0.0")
    assert found.provenance.assumed == ()
    pictures = datasets.read(where, obs="image").steps
    np.testing.assert_array_equal(pictures.next_obs[:3], image(0)[1:])
    late = datasets.read(where, obs="state", reward="before").steps
    np.testing.assert_array_equal(late.reward[:3], [1, 2, 9])  # 9 is in the last row


# ---- robomimic, by its layout ------------------------------------------------------


def robomimic(path, skip=(), more=()):
    """Twelve demonstrations, so that their order as texts is another; two observations."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})
        for number in range(12):
            obs, action, reward = episode(number % 3)
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = len(action)
            parts = {"place": obs[:, :1] + 100 * number, "time": obs[:, 1:], **dict(more)}
            for name, value in parts.items():
                demo[f"obs/{name}"] = value[:-1]
                if "next_obs" not in skip:
                    demo[f"next_obs/{name}"] = value[1:]
            dones = np.arange(len(action)) == len(action) - 1
            fields = {"actions": action, "rewards": reward, "dones": dones.astype(np.int64)}
            for name, value in fields.items():
                if name not in skip:
                    demo[name] = value
        file["mask/train"] = np.array([b"demo_10", b"demo_2"])
    return path


def test_robomimic(tmp_path):
    path = robomimic(tmp_path / "low_dim.hdf5")
    found = datasets.read(path)
    starts = [each.start for each in found.episodes()]
    np.testing.assert_array_equal(
        found.steps.obs[starts, 0], [10 * (i % 3) + 100 * i for i in range(12)]
    )
    assert found.provenance.environment == "Lift" and len(found) == 36
    assert [each.name for each in found.parts()] == ["place", "time"]
    assert found.steps.truncated.sum() == 12 and not found.steps.terminated.any()
    assert "nothing terminates" in found.provenance.assumed[0]
    expected = steps(episodes=(2, 1), over=(), clock=(1, 2))
    for name in ("obs", "next_obs"):
        expected[name][:2, 0] += 200
        expected[name][2:, 0] += 1000
    check(f"{path},filter=train", expected)
    over = datasets.read(path, dones="terminated").steps
    assert over.terminated.sum() == 12 and not over.truncated.any()
    assert datasets.read(path, obs="time").steps.obs.shape == (36, 1)
    for option, line in (("filter", "no filter 'x'; it has train"), ("obs", "no observation 'x'")):
        with pytest.raises(UserError, match=line):
            datasets.read(path, **{option: "x"})


def test_robomimic_without_successors_or_rewards(tmp_path):
    found = datasets.read(robomimic(tmp_path / "a.hdf5", skip=("next_obs", "rewards")))
    assert len(found) == 24 and found.left_out is not None
    said = " ".join(found.provenance.assumed)
    assert "rewards are 0, as the file has none" in said and "12 last steps" in said


def test_images_of_robomimic_are_asked_for(tmp_path):
    path = robomimic(tmp_path / "image.hdf5", more={"camera": np.zeros((5, 4, 4, 3), np.uint8)})
    with pytest.raises(UserError, match=r"camera is an image: say which, as in ',obs=place\+time'"):
        datasets.read(path)


# ---- Minari, made now --------------------------------------------------------------


def counter():
    """The counter as an environment of gymnasium's; its clock is a wrapper."""
    import gymnasium

    class Counter(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        number = -1

        def reset(self, **_):
            self.number, self.time = self.number + 1, 0
            return episode(self.number)[0][0], {}

        def step(self, action):
            obs, given, reward = episode(self.number)
            np.testing.assert_array_equal(action, given[self.time])
            self.time += 1
            over = self.number == 0 and self.time == LENGTHS[0]
            clock = self.number == 1 and self.time == LENGTHS[1]
            return obs[self.time], float(reward[self.time - 1]), over, clock, {}

    return Counter()


@pytest.mark.parametrize("storage", ["hdf5", "arrow", "parquet"])
@pytest.mark.filterwarnings("ignore")
def test_minari(store, storage):
    """What was cut by its collector is truncated in Minari."""
    minari = pytest.importorskip("minari")
    env = minari.DataCollector(counter(), data_format=storage)
    for i in range(3):
        env.reset()
        for action in episode(i)[1]:
            env.step(action)
    env.create_dataset("test/counter-v0", algorithm_name="by hand", eval_env="CartPole-v1")
    env.close()
    expected = steps(clock=(1, 2))
    found = check("minari:test/counter-v0", expected, [3, 406, 401])
    assert found.provenance.format_version == minari.__version__
    assert found.provenance.behaviour == "by hand"
    # By its folder, and what is in it.
    where = store / "test" / "counter-v0"
    for path in (where, where / "data", f"minari:{where}"):
        check(path, expected)
    if storage == "hdf5":
        check(where / "data" / "main_data.hdf5", expected)


def dataset_of(minari, name, space, values, **more):
    """A set of one episode with these observations."""
    steps = len(values) - 1
    buffer = minari.data_collector.EpisodeBuffer(
        observations=values,
        actions=np.zeros((steps, 1), np.float32),
        rewards=[1.0] * steps,
        terminations=[False] * steps,
        truncations=[t == steps - 1 for t in range(steps)],
    )
    box = __import__("gymnasium").spaces.Box(-1, 1, (1,), np.float32)
    minari.create_dataset_from_buffers(
        name, [buffer], observation_space=space, action_space=box, **more
    )


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_jpegs_of_minari_are_told(store):
    """It codes images by default; one of noise is far from what was written."""
    minari, theirs = pytest.importorskip("minari"), pytest.importorskip("gymnasium").spaces
    noise = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    space = theirs.Box(0, 255, (32, 32, 3), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset_of(minari, "jpeg-v0", space, noise)
        dataset_of(minari, "plain-v0", space, noise, jpeg_encoding=False)
    with pytest.warns(UserWarning, match="images were kept as JPEGs, which are not what was seen"):
        coded = datasets.read("minari:jpeg-v0")
    assert coded.steps.obs.dtype == np.uint8 and "JPEG" in coded.provenance.assumed[0]
    assert np.abs(coded.steps.obs.astype(int) - noise[:-1]).max() > 100
    plain = datasets.read("minari:plain-v0")
    np.testing.assert_array_equal(plain.steps.obs, noise[:-1])
    assert plain.provenance.assumed == ()


def test_a_discrete_of_many_values_may_be_one_number(store):
    minari, theirs = pytest.importorskip("minari"), pytest.importorskip("gymnasium").spaces
    values = np.array([19_999, 0, 7])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset_of(minari, "many-v0", theirs.Discrete(20_000), values)
        dataset_of(minari, "text-v0", theirs.Text(3), ["a", "b", "c"])
    found = datasets.read("minari:many-v0")
    np.testing.assert_array_equal(found.steps.obs.argmax(1), values[:-1])
    index = datasets.read("minari:many-v0,discrete=index")
    np.testing.assert_array_equal(index.steps.obs, values[:-1, None])
    assert [part.size for part in index.parts()] == [1]
    with pytest.raises(UserError, match="the space is Text, which is no array of a fixed size"):
        datasets.read("minari:text-v0")


# ---- what is of no format ----------------------------------------------------------


def test_what_something_is_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    np.save(tmp_path / "a.npy", np.zeros(3))
    table = next((FILES / "lerobot" / "data").glob("*/*.parquet"))
    with h5py.File(tmp_path / "v1.h5", "w") as file:
        for name in ("observations", "actions", "rewards", "terminals", "episode_terminals"):
            file[name] = np.zeros(3)
        file["discrete_action"] = False
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["weights/layer"] = np.zeros(3)
    lines = {
        tmp_path / "empty": "is an empty folder",
        tmp_path / "other": "is a folder that has no format that is known",
        tmp_path / "a.npy": "is one array",
        table: "is a table of Parquet: give the folder of the data set",
        FILES / "imitation" / "data-00000-of-00001.arrow": "is a table of Arrow",
        tmp_path / "v1.h5": "is of d3rlpy's version 1",
        tmp_path / "some.h5": "it is HDF5 with weights",
    }
    for path, line in lines.items():
        with pytest.raises(UserError) as caught:
            datasets.read(path)
        assert line in str(caught.value) and "\n" not in str(caught.value), path


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("d3rlpy.h5,ends=both", "is of d3rlpy, which has no option 'ends'; it has missing"),
        ("ogbench-raw.npz,missing=drop", "is of ogbench, which has no option 'missing'; it has no"),
        ("sb3.pkl,action=unit", "has no option 'action', did you mean 'actions'"),
        ("robomimic:d3rlpy.h5", "cannot be read as HDF5"),
    ],
)
def test_options_are_of_the_format(source, line, monkeypatch):
    monkeypatch.chdir(FILES)
    with pytest.raises(UserError, match=line):
        datasets.read(source)


def test_the_table_of_formats_is_in_the_readme():
    """`list formats` prints it."""
    readme = Path(__file__).parents[2] / "README.md"
    assert listing.traits().strip() in readme.read_text()


def test_every_format_has_its_traits_and_options():
    traits = formats.traits()
    assert set(traits) == set(formats.names())
    assert all(all(each) for each in traits.values())
