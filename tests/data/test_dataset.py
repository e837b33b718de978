"""What a data set says of itself, what is refused, and that its file gives it back."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxrl_reward import UserError
from jaxrl_reward import data as datasets
from jaxrl_reward.data.formats import npz as module


def test_episodes_and_their_returns(dataset):
    assert len(dataset) == 10
    assert dataset.episodes() == [(0, 4, True), (4, 8, True), (8, 10, False)]
    np.testing.assert_array_equal(dataset.returns(), [0 + 1 + 2 + 3, 4 + 5 + 6 + 7])
    np.testing.assert_array_equal(dataset.lengths(), [4, 4])
    assert np.flatnonzero(dataset.steps.first).tolist() == [0, 4, 8]


def test_the_two_rewards_are_one_and_nothing_else_is_kept(dataset):
    steps = dataset.steps
    np.testing.assert_array_equal(steps.reward, steps.env_reward)
    assert (steps.info, steps.policy) == ({}, {})


@pytest.mark.parametrize(
    ("name", "value", "score"),
    [
        ("halfcheetah-medium-v2", 5000, 42.530027),
        ("hopper_medium_replay-v2", 3000, 92.800897),
        ("d4rl:walker2d-expert-v2", 4000, 87.097747),
        ("hopper", -20.272305, 0.0),
        ("hopper", 3234.3, 100.0),
    ],
)
def test_scores_are_those_of_d4rl(name, value, score):
    found = datasets.normalized_score(value, *datasets.d4rl_returns(name))
    assert found == pytest.approx(score, abs=1e-5)


def test_a_dataset_is_scored_by_its_own_references_first(dataset):
    np.testing.assert_allclose(dataset.score(dataset.returns()), [100 * 5 / 30, 100 * 21 / 30])
    d4rl = dataset.replace_provenance(random_return=None)
    assert d4rl.references() == (-20.272305, 3234.3)


@pytest.mark.parametrize(
    "name",
    [
        *("brax:hopper", "swimmer-v2", "mujoco/hopper/expert-v0", "hopper-of-my-simulator-v0"),
        *("hopper-medium-v5", "hopper_jump-v0", "walker2d-medium-navigate-v2"),
    ],
)
def test_other_robots_have_no_scores_of_d4rl(name):
    with pytest.raises(UserError, match="no reference returns are known"):
        datasets.d4rl_returns(name)


def test_a_score_needs_a_scale():
    with pytest.raises(UserError, match="two returns that differ"):
        datasets.normalized_score(1.0, 2.0, 2.0)


def test_the_summary_is_of_whole_episodes(dataset):
    about = json.loads(json.dumps(dataset.summary()))
    assert (about["rows"], about["episodes"], about["cut_episodes"]) == (10, 2, 1)
    assert (about["terminated"], about["truncated"]) == (1, 1)
    assert about["return"]["mean"] == 14.0 and about["return"]["quantiles"]["0.5"] == 14.0
    assert about["length"] == {"mean": 4.0, "most": 4}
    assert about["reward"] == {"mean": 4.5, "mean_abs": 4.5}
    assert about["provenance"]["checksum"] == dataset.provenance.checksum


def test_steps_map_over_a_stack_of_datasets(dataset):
    both = jax.tree.map(lambda *x: np.stack(x), dataset.steps, dataset.steps)
    sums = jax.vmap(lambda steps: steps.reward.sum())(both)
    np.testing.assert_array_equal(sums, [45.0, 45.0])
    assert len(dataset.replace(steps=both)) == 10


# ---- the file ----------------------------------------------------------------------


def test_a_file_gives_back_every_bit(dataset, tmp_path):
    path = datasets.save(dataset, tmp_path / "deep" / "data.npz")
    found = datasets.load(path)
    assert found.provenance == dataset.provenance == module.provenance_of(path)
    jax.tree.map(np.testing.assert_array_equal, found.steps, dataset.steps)
    assert [x.dtype for x in jax.tree.leaves(found)] == [x.dtype for x in jax.tree.leaves(dataset)]
    assert [each.name for each in path.parent.iterdir()] == ["data.npz"]


def test_the_same_data_are_the_same_file(dataset, tmp_path):
    paths = [datasets.save(dataset, tmp_path / name) for name in ("a.npz", "b.npz")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_interrupted_write_leaves_the_old_file(dataset, tmp_path, monkeypatch):
    path = datasets.save(dataset, tmp_path / "data.npz")
    before = path.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        datasets.save(dataset.replace_provenance(level="other"), path)
    assert path.read_bytes() == before


def test_another_suffix_is_refused(dataset, tmp_path):
    with pytest.raises(UserError, match=r"must end in \.npz"):
        datasets.save(dataset, tmp_path / "data.hdf5")
    assert not list(tmp_path.iterdir())


def rewrite(path, **changes):
    """The file with other fields, with a checksum that was not told."""
    arrays = {**module.read_npz(path), **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": None},
            "make one of its arrays with data.make, and write",
        ),
        ({"format": np.array("jaxrl-reward dataset 9")}, "format is 'jaxrl-reward dataset 9'"),
        ({"provenance": np.array("{")}, "provenance cannot be read"),
        ({"provenance": np.array('{"versions": [], "colour": 1}')}, "provenance cannot be read"),
        ({"reward": None}, "has no field 'reward'"),
        ({"first": None}, "has no field 'first'"),
        ({"reward": np.zeros(10, np.float32)}, "checksum does not fit"),
        ({"first": np.zeros(10, bool)}, "first is false at row 0"),
    ],
)
def test_a_changed_file_is_refused(dataset, tmp_path, changes, message):
    path = datasets.save(dataset, tmp_path / "data.npz")
    rewrite(path, **changes)
    with pytest.raises(UserError) as caught:
        datasets.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "gone", "folder"])
def test_a_damaged_file_is_refused(dataset, tmp_path, damage):
    path = datasets.save(dataset, tmp_path / "data.npz")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        at = content.index(dataset.steps.obs[4, 0].tobytes())
        content[at] ^= 1
    if damage in ("gone", "folder"):
        path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        cut = {"cut": bytes(content[:-200]), "empty": b"", "text": b"observations"}
        path.write_bytes(cut.get(damage, bytes(content)))
    with pytest.raises(UserError, match=r"does not exist|cannot be read as \.npz") as caught:
        datasets.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# ---- bad arrays --------------------------------------------------------------------


def changed(arrays, name, value):
    return {key: each for key, each in {**arrays, name: value}.items() if each is not None}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("action", None, "f.npz has no field 'action'; it needs obs, action, reward"),
        ("obs", np.full((10, 3), np.nan), "f.npz: obs holds a NaN or an infinity, first in row 0"),
        ("reward", np.append(np.ones(9), np.inf), "reward holds a NaN or an infinity"),
        ("reward", np.zeros(9), "obs has 10 rows, but reward has 9"),
        ("reward", np.zeros(0), "reward is empty"),
        ("reward", np.float32(1), "reward must be an array of rows"),
        ("reward", np.zeros((10, 2)), "reward must have the shape [N], not [10, 2]"),
        ("next_obs", np.zeros((10, 4)), "obs and next_obs must have one shape"),
        ("terminated", np.full(10, 2), "terminated must be true or false"),
        ("action", np.full((10, 2), "x"), "action must hold numbers"),
        ("first", np.arange(10) == 0, "first is false at row 8, where an episode begins"),
        ("reward", np.full(10, 1e39), "f.npz: reward goes beyond float32, up to 3.4e38 in row 0"),
        ("obs", np.full((10, 3), -1e39), "obs goes beyond float32"),
        ("reward", np.arange(10) + 2**24 - 4, "scale them: one in row 5 (16777217)"),
        ("next_obs", np.full((10, 3), -(2**24) - 1), "next_obs has whole numbers beyond 16777216"),
        ("obs", np.full((10, 3), 2**63, np.uint64), "obs has whole numbers beyond 16777216"),
        ("action", np.full((10, 2), 2**31), "action goes beyond the whole numbers of int32"),
        ("action", np.full(10, -(2**31) - 1), "int32 in row 0 (-2147483649)"),
        ("action", np.full(10, 2**64 - 1, np.uint64), "beyond the whole numbers of int32"),
        ("action", np.full((10, 2), -1e300), "action goes beyond float32"),
        ("truncated", np.full(10, np.nan), "truncated must be true or false"),
    ],
)  # fmt: skip
def test_bad_arrays_are_refused_by_name(arrays, name, value, message):
    with pytest.raises(UserError) as caught:
        datasets.make(changed(arrays, name, value), where="f.npz")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reward", np.full(10, np.finfo(np.float32).max, np.float64)),
        ("reward", np.arange(10) + 2**24 - 9),
        ("obs", np.full((10, 3), -(2**24))),
        ("action", np.full(10, 2**31 - 1)),
        ("action", np.full(10, -(2**31))),
        ("action", np.full(10, 2**31 - 1, np.uint64)),
    ],
)
def test_what_fits_is_kept_as_it_is(arrays, name, value):
    given = {**arrays, name: value}
    given |= {"next_obs": value} if name == "obs" else {}
    kept = np.asarray(getattr(datasets.make(given).steps, name))
    np.testing.assert_array_equal(kept.astype(value.dtype), value)


def test_an_episode_goes_on_at_its_goal_where_first_says_so(arrays):
    """Rows 2, 3 and 5 are at the goal; the clock ends it in row 7."""
    goal, first = np.isin(np.arange(10), (2, 3, 5)), np.isin(np.arange(10), (0, 8))
    data = datasets.make({**arrays, "terminated": goal, "first": first})
    assert data.episodes() == [(0, 8, True), (8, 10, False)]
    np.testing.assert_array_equal(data.returns(), [sum(range(8))])
    np.testing.assert_array_equal(data.lengths(), [8])
    assert data.summary()["cut_episodes"] == 1
    plain = datasets.make({**arrays, "terminated": goal})
    np.testing.assert_array_equal(plain.lengths(), [3, 1, 2, 2])


def test_types_are_those_that_networks_take(arrays):
    given = arrays | {
        "obs": np.zeros((10, 2), np.uint8),
        "next_obs": np.zeros((10, 2), np.uint8),
        "action": np.arange(10, dtype=np.int64),
        "reward": np.arange(10, dtype=np.float64)[:, None],
        "terminated": np.zeros((10, 1)),
    }
    steps = datasets.make(given).steps
    kinds = (steps.obs.dtype, steps.action.dtype, steps.reward.dtype, steps.terminated.dtype)
    assert [str(kind) for kind in kinds] == ["uint8", "int32", "float32", "bool"]
    assert steps.reward.shape == steps.terminated.shape == (10,)


def test_the_checksum_is_of_all_fields(dataset):
    sums = {module.checksum(dataset.steps)}
    for field in module.FIELDS:
        other = np.array(getattr(dataset.steps, field))
        other[-1] = 1
        sums.add(module.checksum(dataset.steps.replace(**{field: other})))
    assert len(sums) == 1 + len(module.FIELDS)
    assert dataclasses.is_dataclass(dataset.provenance) and hash(dataset.provenance)
