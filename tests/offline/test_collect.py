"""Collecting: what is played is what is stored, levels are what they say, a file is reused."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from jaxrl_reward import UserError, agents, cli, offline
from jaxrl_reward.offline import collect as collecting
from jaxrl_reward.offline import record, report

ENV = "probe:action_continuous"  # one step, reward 1 - (action - 0.5)^2
SMALL = {
    "num_envs": 4,
    "num_steps": 2,
    "updates": 4,
    "batch_size": 16,
    "buffer_size": 64,  # of 480 steps that are played
    "learning_starts": 16,
    "hidden": (8,),
    "learning_rate": 1e-2,
    "critic_learning_rate": 1e-2,
}
SETTINGS = collecting.Settings(rows=150, total_steps=480, evals=4, eval_episodes=4, num_envs=4)


@pytest.fixture(scope="module", autouse=True)
def short_calls():
    """Calls to the device as short as the runs here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "PLAY_STEPS", 10)
        patch.setattr(collecting, "TRAIN_STEPS", 40)
        yield


@pytest.fixture(scope="module")
def collected() -> collecting.Collected:
    agent = agents.make("sac", ENV, **SMALL)
    return collecting.collect(agent, collecting.LEVELS, SETTINGS, progress=False)


# ---- levels ------------------------------------------------------------------------


def test_each_level_has_its_rows_and_its_place(collected):
    assert list(collected.datasets) == list(collecting.LEVELS)
    steps = [step for step, _ in collected.curve]
    assert steps == [0, 120, 240, 360, 480]
    medium = collected.datasets["medium"].provenance.env_steps
    low, high = collected.datasets["expert"].references()
    reached = [step for step, value in collected.curve if value >= low + (high - low) / 3]
    assert medium == min(step for step in reached if step)
    assert high == collected.curve[-1][1] > low
    for level, data in collected.datasets.items():
        known = data.provenance
        assert len(data) == (min(150, medium) if level == "medium-replay" else 150)
        assert (known.level, known.environment, known.seed) == (level, ENV, 0)
        assert known.behaviour == ("random" if level == "random" else "sac")
        assert known.random_return == low and known.versions
    random = collected.datasets["random"]
    assert np.asarray(random.returns()).mean() == pytest.approx(1 - 1 / 3 - 0.25, abs=0.15)
    expert = collected.datasets["expert"].returns().mean()
    assert expert > random.returns().mean() + 0.1


def test_rows_are_what_the_environment_did(collected):
    for data in (*collected.datasets.values(), collected.stream):
        steps = data.steps
        np.testing.assert_allclose(
            steps.reward, 1 - (np.asarray(steps.action)[:, 0] - 0.5) ** 2, rtol=1e-6
        )
        assert steps.terminated.all() and not steps.truncated.any() and steps.first.all()


def test_the_stream_is_the_whole_training(collected):
    """More than the ring of the agent holds; the replay level is a part of its beginning."""
    played = np.asarray(collected.stream.steps.action)[:, 0]
    assert len(played) == 480 and len(set(played.tolist())) > 400
    medium = collected.datasets["medium-replay"]
    until = medium.provenance.env_steps
    assert set(np.asarray(medium.steps.action)[:, 0].tolist()) <= set(played[:until].tolist())


def test_a_level_does_not_depend_on_the_others(collected):
    agent = agents.make("sac", ENV, **SMALL)
    alone = collecting.collect(agent, ["medium"], SETTINGS, progress=False).datasets["medium"]
    assert alone.provenance == collected.datasets["medium"].provenance


def test_flags_and_successors_are_the_true_ones():
    agent = agents.make("sac", "gymnax:Pendulum-v1,max_steps_in_episode=7", **SMALL)
    settings = collecting.Settings(rows=50, num_envs=3)
    data = collecting.collect(agent, ["random"], settings, progress=False).datasets["random"]
    steps = jax.tree.map(np.asarray, data.steps)
    assert not steps.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated), np.arange(6, 49, 7))
    inside = ~steps.truncated[:-1]
    np.testing.assert_array_equal(steps.next_obs[:-1][inside], steps.obs[1:][inside])
    # What follows the last step is one step away, and no new beginning.
    jumps = np.abs(steps.next_obs - steps.obs)[:, 2]
    assert jumps.max() < 1.5 and len(data.returns()) == 7
    new = np.abs(steps.next_obs[:-1][~inside] - steps.obs[1:][~inside]).max(1)
    assert (new > 1e-3).all()
    assert data.provenance.expert_return is None and data.provenance.env_steps == 0
    assert np.abs(steps.action).max() <= 2.0 and np.abs(steps.action).max() > 1.5


# ---- rows --------------------------------------------------------------------------


def block(first) -> record.Block:
    """`[T, N]` rows that are numbered `100 n + t`."""
    first = np.asarray(first, bool).T
    time, envs = first.shape
    number = np.arange(time)[:, None] + 100 * np.arange(envs)[None]
    return {"first": first, "reward": number}


def test_rows_are_in_the_order_in_which_episodes_begin():
    given = block([[1, 0, 1, 0, 0], [1, 1, 0, 0, 1]])
    rows = record.flatten(given)["reward"].tolist()
    assert rows == [0, 1, 100, 101, 102, 103, 2, 3, 4, 104]
    assert record.flatten(given, until=2)["reward"].tolist() == [0, 1, 100, 101]
    assert record.flatten(given, rows=100)["reward"].tolist() == rows


def test_thinning_keeps_whole_episodes_of_all_times():
    rng = np.random.default_rng(0)
    first = rng.random((3, 2000)) < 0.1
    first[:, 0] = True
    everything = record.flatten(block(first))["reward"].tolist()
    begin = record.flatten(block(first))["first"].tolist()
    for rows in (7, 600, 3000, 5990):
        found = record.flatten(block(first), rows=rows)
        kept = found["reward"]
        assert len(kept) == rows and len(set(kept.tolist())) == rows
        places = [everything.index(value) for value in kept]
        assert places == sorted(places)
        jumps = [b for a, b in zip(places, places[1:], strict=False) if b != a + 1]
        assert all(begin[place] for place in jumps)  # only whole episodes are left out
        if rows > 500:
            assert abs((np.array(places) < 3000).mean() - 0.5) < 0.1


def test_one_long_episode_is_cut():
    assert record.flatten(block([[1, 0, 0, 0]]), rows=3)["reward"].tolist() == [0, 1, 2]


# ---- refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "levels", "settings", "message"),
    [
        ("sac", ["expret"], {}, "unknown level 'expret', did you mean 'expert'?"),
        ("sac", ["random", "random"], {}, "levels must be some of random, medium"),
        ("sac", [], {}, "levels must be some of"),
        ("sac", ["random"], {"rows": 0}, "rows must be at least 1"),
        ("sac", ["random"], {"seed": -1}, "seed must be between 0 and"),
        ("sac", ["medium"], {"total_steps": 500}, "sac's learning_starts=1000 is beyond"),
        ("ppo", ["medium-replay"], {}, "medium-replay needs an agent with a replay, such as sac"),
    ],
)
def test_what_cannot_be_collected_is_refused_first(name, levels, settings, message):
    agent = agents.make(name, ENV)
    with pytest.raises(UserError) as caught:
        collecting.collect(agent, levels, collecting.Settings(**settings))
    assert message in str(caught.value)


def test_policies_that_see_more_than_observations_are_refused():
    for agent, message in (
        (agents.make("eta", "tabular:lotteries"), "eta sees a reward's memory"),
        (agents.make("ppo", ENV, network="gru", num_steps=8), "ppo has a memory of its own"),
    ):
        with pytest.raises(UserError, match=message):
            collecting.collect(agent, ["expert"])


def test_training_without_success_has_no_medium():
    run = collecting._Run([0, 10, 20], [1.0, 3.0, 2.0], [], [])
    assert collecting._medium(run, 0.0) == 1
    with pytest.raises(UserError, match=r"after 20 steps the policy returns 2\.0, random actions"):
        collecting._medium(run, 2.0)


# ---- the command -------------------------------------------------------------------

LINE = (
    *("collect", "sac", ENV, "--total-steps", "480", "--evals", "4", "--eval-episodes", "4"),
    *("--play-envs", "4", "--num-envs", "4", "--num-steps", "2", "--updates", "4"),
    *("--batch-size", "16", "--buffer-size", "64", "--learning-starts", "16", "--hidden", "8"),
    *("--learning-rate", "0.01", "--critic-learning-rate", "0.01"),
)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs a command in this process, in an empty folder: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")

    def call(*argv):
        capsys.readouterr()
        return cli.main([str(word) for word in argv]), *capsys.readouterr()

    return call


def test_the_command_writes_data_and_a_report_and_uses_them_again(run, tmp_path, monkeypatch):
    line = (*LINE, "--level", "random,medium-replay", "--rows", "60", "--out", "here")
    status, out, err = run(*line)
    assert status == 0, err
    assert "sac: step 480/480" in err and "TQ" in out and "SACo" in out
    folder = tmp_path / "here"
    suffixes = {f"{level}.{end}" for level in ("random", "medium-replay") for end in ("npz", "json", "png")}  # fmt: skip
    assert {each.name for each in folder.iterdir()} == suffixes
    data = offline.read(folder / "medium-replay.npz")
    about = json.loads((folder / "medium-replay.json").read_text())
    assert about["rows"] == len(data) == 60
    assert about["return"]["mean"] == pytest.approx(data.returns().mean())
    assert 0 < about["saco"] <= 1.5 and about["tq"] < 1.2 and len(about["curve"]) == 5
    assert about["score"] == pytest.approx(data.score(data.returns()).mean())
    assert "jaxrl-reward collect sac" in about["command"]
    Image.open(folder / "medium-replay.png").verify()
    before = {each: each.read_bytes() for each in folder.iterdir()}

    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr(collecting, "collect", never)
    status, again, err = run(*line)
    assert (status, again) == (0, out)
    assert err.count("holds this already") == 2
    assert before == {each: each.read_bytes() for each in folder.iterdir()}
    status, _, err = run(*LINE, "--level", "medium-replay", "--rows", "61", "--out", "here")
    assert status == 2 and "holds other data: settings.rows = 60, not 61" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--level", "a"], "unknown level 'a'"),
        (["--level", "medium,expert", "--out", "a.npz"], "--out a.npz is one file"),
        (["--level", "medium", "--out", "file"], "--out file must be an .npz or a folder"),
        (["--rows", "0"], "--rows must be at least 1"),
        (["--rowz", "9"], "unknown argument --rowz; did you mean '--rows'?"),
        (["--level", "random", "--out", "theirs.npz"], "is not a dataset of jaxrl-reward"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, words, message):
    (tmp_path / "file").write_text("")
    np.savez(tmp_path / "theirs.npz", x=np.zeros(1))
    status, out, err = run(*LINE, *words)
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_report_that_is_gone_names_what_to_do(collected, tmp_path):
    path = tmp_path / "a.npz"
    data = collected.datasets["random"]
    report.write(data, report.describe(data), path)
    assert report.read(path)["saco"] is None
    assert report.holds(path, data.provenance.settings)
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match="delete .* to write both"):
        report.read(path)
