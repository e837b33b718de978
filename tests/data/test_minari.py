"""Minari's store: what is written and read, and what is never removed."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrl_reward import UserError
from jaxrl_reward import data as datasets
from jaxrl_reward.data import minari

minari_library = pytest.importorskip("minari")  # the extra `dev` installs it


def test_minari_gives_back_what_was_written(dataset, store):
    minari.write(dataset, "test/medium-v0")
    found = datasets.read("minari:test/medium-v0")
    for name in datasets.dataset.FIELDS:
        np.testing.assert_array_equal(getattr(found.steps, name), getattr(dataset.steps, name))
    assert found.provenance.checksum == dataset.provenance.checksum
    assert found.references() == (1.0, 31.0) and found.provenance.behaviour == "sac"
    with pytest.raises(UserError, match="has a data set 'test/medium-v0' already"):
        minari.write(dataset, "test/medium-v0")
    with pytest.raises(UserError, match="did you mean 'test/medium-v0'"):
        minari.read("test/medum-v0")


def test_minari_with_spaces_of_other_kinds(store):
    spaces = pytest.importorskip("gymnasium").spaces
    observed = spaces.Dict({"goal": spaces.Discrete(3), "place": spaces.Box(0, 9, (2,))})
    episode = minari_library.data_collector.EpisodeBuffer(
        observations={"goal": np.array([1, 1, 2]), "place": np.arange(6.0).reshape(3, 2)},
        actions=np.array([0, 4]),
        rewards=[1.0, 2.0],
        terminations=[False, False],
        truncations=[False, True],
    )
    with pytest.warns(UserWarning):
        minari_library.create_dataset_from_buffers(
            "test/dict-v0", [episode], observation_space=observed, action_space=spaces.Discrete(5)
        )
    steps = minari.read("test/dict-v0").steps
    np.testing.assert_array_equal(steps.obs, [[0, 1, 0, 0, 1], [0, 1, 0, 2, 3]])
    np.testing.assert_array_equal(steps.next_obs[1], [0, 0, 1, 4, 5])
    np.testing.assert_array_equal(steps.action, [0, 4])
    np.testing.assert_array_equal(steps.truncated, [False, True])


def test_minari_cannot_hold_corrupted_successors(dataset, store):
    other = dataset.replace(steps=dataset.steps.replace(next_obs=dataset.steps.next_obs + 1))
    with pytest.raises(UserError, match="next_obs of episode 0 is not the next row's obs"):
        minari.write(other, "test/bad-v0")
    with pytest.raises(UserError, match="'not a name' is no name of a data set"):
        minari.write(dataset, "not a name")
    assert not list(store.rglob("*"))


def everything(folder):
    return {each: each.is_file() and each.read_bytes() for each in folder.rglob("*")}


@pytest.mark.parametrize(
    "name",
    [
        *("lab", "lab/", "", ".", "..", "lab/../lab/c-v0", "../out-v0", "lab//c-v0", "a"),
        *("lab/a-v0", "lab/b-v0", "lab/empty-v0", "lab/file-v0", "lab/link-v0", "lab/a-v0/c-v0"),
        *("lab/data/c-v0", "lab/a-v0/data/c-v0", "thesis-v0\n", "~/c-v0", "{outside}", None),
    ],
)
def test_nothing_that_lies_in_the_store_is_ever_removed(
    dataset, store, tmp_path, monkeypatch, name
):
    """A namespace, a set, one whose folder was renamed, what is no set, and what lies outside.

    Whatever the code under test does: no name here leads out of `tmp_path`, and a
    removal that would is stopped before it begins.
    """
    remove = shutil.rmtree

    def inside(path, *args, **kwargs):
        assert Path(path).resolve().is_relative_to(tmp_path.resolve()), f"would remove {path}"
        return remove(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", inside)
    minari.write(dataset, "lab/a-v0")
    minari.write(dataset, "lab/c-v0")
    (store / "lab" / "c-v0").rename(store / "lab" / "b-v0")
    (store / "lab" / "empty-v0").mkdir()
    (store / "lab" / "file-v0").write_text("two years of work")
    (store / "lab" / "link-v0").symlink_to(tmp_path / "nowhere")
    (tmp_path / "thesis-v0").mkdir()
    (tmp_path / "thesis-v0" / "thesis.txt").write_text("two years of work")
    before = everything(tmp_path)
    name = name and name.format(outside=tmp_path / "thesis-v0")
    with pytest.raises(UserError) as caught:
        minari.write(dataset, name)
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == before


def test_what_is_half_written_is_cleaned_up(dataset, store, monkeypatch):
    minari.write(dataset, "lab/a-v0")
    before = everything(store)

    def stop(*_):
        raise OSError("No space left on device")

    storage = minari_library.dataset.minari_storage.MinariStorage
    monkeypatch.setattr(storage, "update_metadata", stop)
    with pytest.raises(UserError, match="lab/b-v0 cannot be written: No space left on device"):
        minari.write(dataset, "lab/b-v0")
    assert everything(store) == before


def test_minari_finds_what_was_written(dataset, store):
    """In a new namespace, beside others; what it holds lies in its own spaces."""
    minari.write(dataset, "lab/deep/a-v0")
    minari.write(dataset, "b-v1")
    assert set(minari_library.list_local_datasets()) == {"lab/deep/a-v0", "b-v1"}
    assert minari_library.namespace.list_local_namespaces() == ["lab", "lab/deep"]
    loaded = minari_library.load_dataset("lab/deep/a-v0")
    assert (loaded.total_episodes, loaded.total_steps) == (3, 10)
    for episode in loaded.iterate_episodes():
        assert all(loaded.action_space.contains(each) for each in episode.actions)
        assert all(loaded.observation_space.contains(each) for each in episode.observations)


def test_minari_keeps_where_data_are_from(dataset, store):
    worse = datasets.corrupt(dataset, jax.random.key(0), "random", "reward", rate=0.5)
    minari.write(worse, "lab/a-v0")
    kept = dataclasses.asdict(minari.read("lab/a-v0").provenance)
    given = dataclasses.asdict(worse.provenance) | {"source": "minari:lab/a-v0"}
    given |= {"format": "minari", "format_version": minari_library.__version__}
    given |= {name: kept[name] for name in ("checksum", "observation_space", "action_space")}
    assert kept == given and kept["corruption"] == "random reward"


def test_minari_is_told_how_many_actions_there_are(arrays, store):
    taken = {**arrays, "action": np.arange(10) % 2}
    data = datasets.make(taken)
    with pytest.raises(UserError, match="do not say how many actions there are; give actions=2"):
        minari.write(data, "a-v0")
    with pytest.raises(UserError, match="actions are from 0 to 1, not of 1"):
        minari.write(data, "a-v0", actions=1)
    minari.write(data, "a-v0", actions=3)
    minari.write(data.replace_provenance(environment="gymnax:Acrobot-v1"), "b-v0")
    for name in ("a-v0", "b-v0"):
        assert minari_library.load_dataset(name).action_space.n == 3
    pairs = np.stack([np.arange(10), -np.arange(10)], 1)
    minari.write(datasets.make({**arrays, "action": pairs}), "c-v0")
    loaded = minari_library.load_dataset("c-v0")
    assert all(loaded.action_space.contains(each) for each in loaded[0].actions)
    np.testing.assert_array_equal(minari.read("c-v0").steps.action, pairs)


def test_minari_is_told_what_it_cannot_hold(tmp_path, store):
    """What a file of D4RL's does not say: where its episodes ended."""
    fields = {"observations": np.arange(9.0)[:, None], "actions": np.zeros((9, 1))}
    ends = {"terminals": np.arange(9) == 2, "timeouts": np.arange(9) == 6}
    np.savez(tmp_path / "a.npz", **fields, **ends, rewards=np.arange(9.0))
    with pytest.warns(UserWarning, match=r"the last step of 2 truncated .* is written twice"):
        minari.write(datasets.read(tmp_path / "a.npz"), "a-v0")
    assert not minari.read("a-v0").provenance.terminal_next_obs


def plain_images(store, version):
    """A set of images as Minari 0.5.0 to 0.5.2 write it: plain arrays, and no word of it."""
    spaces = pytest.importorskip("gymnasium").spaces
    image = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    episode = minari_library.data_collector.EpisodeBuffer(
        observations=image,
        actions=np.zeros((3, 1), np.float32),
        rewards=[1.0, 2.0, 3.0],
        terminations=[False] * 3,
        truncations=[False, False, True],
    )
    with pytest.warns(UserWarning):
        minari_library.create_dataset_from_buffers(
            "image-v0",
            [episode],
            observation_space=spaces.Box(0, 255, (32, 32, 3), np.uint8),
            action_space=spaces.Box(-1, 1, (1,), np.float32),
            jpeg_encoding=False,
        )
    path = store / "image-v0" / "data" / "metadata.json"
    about = json.loads(path.read_text()) | {"minari_version": version}
    del about["jpeg_encoding"]
    path.write_text(json.dumps(about))
    return image


def test_plain_images_of_older_minari_are_read(store):
    image = plain_images(store, "0.5.2")
    steps = datasets.read("minari:image-v0").steps
    np.testing.assert_array_equal(steps.obs, image[:-1])
    np.testing.assert_array_equal(steps.next_obs, image[1:])


def test_what_minari_cannot_decode_is_one_line(store):
    plain_images(store, "0.5.3")
    with pytest.raises(UserError, match="minari:image-v0 cannot be read") as caught:
        datasets.read("minari:image-v0")
    assert "\n" not in str(caught.value)
