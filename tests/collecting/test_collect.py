"""Collecting: what is played is what is stored, levels are what they say, a file is reused."""

import contextlib
import io
import itertools
import json
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from PIL import Image

from jaxrl_reward import UserError, agents, cli, collecting, rewards
from jaxrl_reward import data as datasets
from jaxrl_reward.agents import table
from jaxrl_reward.collecting import levels, record, report

sys.path.insert(0, str(Path(__file__).parent))
import ramp

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
ENV = "probe:action_continuous"  # one step, reward 1 - (action - 0.5)^2
LINE = (
    *("collect", "ramp", ENV, "--total-steps", "480", "--evals", "12", "--eval-episodes", "4"),
    *("--play-envs", "4", "--rows", "90"),
)


@pytest.fixture(scope="module", autouse=True)
def short_calls():
    """Calls to the device as short as the runs here, and `ramp` among the agents."""
    # Keys of a kind that compiles in a fifth of the time.
    with jax.default_prng_impl("unsafe_rbg"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "PLAY_STEPS", 10)
        patch.setattr(levels, "TRAIN_STEPS", 40)
        patch.setattr(table, "_OWN", dict(table._OWN))
        agents.register("ramp", ramp)
        yield


class Run(NamedTuple):
    """What the command gave, what it wrote, and what it wrote that from."""

    status: int
    out: str
    err: str
    folder: Path
    collected: collecting.Collected


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Run:
    """All levels, by the command. Not to be changed."""
    folder = tmp_path_factory.mktemp("shared")
    given = []
    collect, draw = collecting.collect, report.draw
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            collecting, "collect", lambda *x, **y: given.append(collect(*x, **y)) or given[0]
        )
        # One figure is as good as four.
        blank = lambda data, path: path.write_bytes(b"")  # noqa: E731
        some = lambda data, path: (draw if "replay" in path.name else blank)(data, path)  # noqa: E731
        patch.setattr(report, "draw", some)
        patch.setenv("JAX_NUM_CPU_DEVICES", "2")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main([*LINE, "--level", ",".join(collecting.LEVELS), "--out", str(folder)])
    return Run(status, out.getvalue(), err.getvalue(), folder, given[0])


@pytest.fixture
def collected(shared) -> collecting.Collected:
    return shared.collected


# ---- levels ------------------------------------------------------------------------


def test_medium_is_a_third_of_the_way_and_expert_the_end(collected):
    steps, returns = zip(*collected.curve, strict=True)
    assert steps == tuple(range(0, 481, 40))
    np.testing.assert_allclose(returns, [ramp.worth(step / 8) for step in steps], rtol=1e-5)
    datasets = collected.datasets
    low, high = datasets["expert"].references()
    assert low == pytest.approx(1 - 1 / 3 - 0.25, abs=0.3) and high == returns[-1] == 1.0
    medium = next(s for s, r in collected.curve if s and r >= low + (high - low) / 3)
    assert 40 < medium < 480
    assert datasets["medium"].provenance.env_steps == medium
    assert datasets["medium-replay"].provenance.env_steps == medium
    assert datasets["expert"].provenance.env_steps == 480
    for level, theta in (("medium", float(ramp.theta(medium / 8))), ("expert", 0.5)):
        played = np.asarray(datasets[level].steps.action)
        assert played.mean() == pytest.approx(theta, abs=0.05)
        assert played.std() == pytest.approx(0.1, abs=0.03)  # drawn, not the likeliest


def test_datasets_say_where_they_come_from(collected):
    for level, data in collected.datasets.items():
        known = data.provenance
        assert len(data) == 90
        assert (known.level, known.environment, known.seed) == (level, ENV, 0)
        assert known.behaviour == ("random" if level == "random" else "ramp")
        assert dict(known.versions)["jax"] == jax.__version__
        assert json.loads(known.settings)["settings"]["rows"] == 90
        steps = data.steps
        reward = 1 - (np.asarray(steps.action)[:, 0] - 0.5) ** 2
        np.testing.assert_allclose(steps.reward, reward, rtol=1e-6)
        assert steps.terminated.all() and not steps.truncated.any() and steps.first.all()


def test_the_stream_is_the_whole_training(collected):
    """More than the ring of the agent holds; the replay level is spread over its beginning."""
    played = np.asarray(collected.stream.steps.action)[:, 0]
    assert len(played) == 480 > ramp.ROOM
    expected = [ramp.theta(row // 8) for row in range(480)]
    np.testing.assert_allclose(played, expected, atol=0.4)
    assert np.corrcoef(played, expected)[0, 1] > 0.95
    replay = collected.datasets["medium-replay"]
    until = replay.provenance.env_steps
    where = {action: row for row, action in enumerate(played.tolist())}
    index = [where[action] for action in np.asarray(replay.steps.action)[:, 0].tolist()]
    assert index == sorted(index) and index[0] == 0 and until - 8 < index[-1] < until


@pytest.mark.slow
def test_flags_and_successors_are_the_true_ones():
    """Of a pendulum that is pushed one way, as the policy likes best, in episodes of seven."""
    agent = agents.make("ramp", "gymnax:Pendulum-v1,max_steps_in_episode=7")
    player = record.player(agent, 3, True, 10)
    state = ramp.State(jax.numpy.int32(0), (), (), ())
    rows = player.play(state, jax.random.key(1), 50, False, lambda *_: None)
    data = datasets.make(rows)
    steps = jax.tree.map(np.asarray, data.steps)
    np.testing.assert_array_equal(steps.action, np.full((50, 1), -1.0))
    assert not steps.terminated.any() and len(data.returns()) == 7
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated), np.arange(6, 49, 7))
    inside = ~steps.truncated[:-1]
    np.testing.assert_array_equal(steps.next_obs[:-1][inside], steps.obs[1:][inside])
    # What follows the last step is one step away, and no new beginning.
    assert np.abs(steps.next_obs - steps.obs)[:, 2].max() < 1.5
    new = np.abs(steps.next_obs[:-1][~inside] - steps.obs[1:][~inside]).max(1)
    assert (new > 1e-3).all()


@pytest.mark.slow
def test_a_level_does_not_depend_on_the_others(collected):
    settings = collecting.Settings(rows=90, total_steps=480, evals=12, eval_episodes=4, num_envs=4)
    agent = agents.make("ramp", ENV)
    for level in ("medium", "random"):
        alone = collecting.collect(agent, [level], settings, progress=False).datasets[level]
        assert alone.provenance.checksum == collected.datasets[level].provenance.checksum
    assert alone.provenance.expert_return is None and alone.provenance.env_steps == 0


# ---- rows --------------------------------------------------------------------------


LATER = 10_000


def block(first) -> record.Block:
    """`[T, N]` rows that are numbered `LATER * n + t`."""
    first = np.asarray(first, bool).T
    time, envs = first.shape
    number = np.arange(time)[:, None] + LATER * np.arange(envs)[None]
    return {"first": first, "reward": number}


def test_rows_are_in_the_order_in_which_episodes_begin():
    given = block([[1, 0, 1, 0, 0], [1, 1, 0, 0, 1]])
    rows = record.flatten(given)["reward"].tolist()
    assert rows == [0, 1, 10000, 10001, 10002, 10003, 2, 3, 4, 10004]
    assert record.flatten(given, until=2)["reward"].tolist() == [0, 1, 10000, 10001]
    assert record.flatten(given, rows=100)["reward"].tolist() == rows


def test_thinning_keeps_whole_episodes_of_all_times():
    rng = np.random.default_rng(0)
    first = rng.random((3, 2000)) < 0.1
    first[:, 0] = True
    everything = {x: i for i, x in enumerate(record.flatten(block(first))["reward"].tolist())}
    begin = record.flatten(block(first))["first"].tolist()
    for rows in (7, 600, 3000, 5990):
        found = record.flatten(block(first), rows=rows)
        kept = found["reward"]
        assert len(kept) == rows and len(set(kept.tolist())) == rows
        places = [everything[value] for value in kept.tolist()]
        assert places == sorted(places)
        jumps = [b for a, b in itertools.pairwise(places) if b != a + 1]
        assert all(begin[place] for place in jumps)  # only whole episodes are left out
        if rows > 500:
            assert abs((np.array(places) < 3000).mean() - 0.5) < 0.1


def test_the_first_episodes_are_whole_or_refused():
    given = block([[1, 0, 1, 0, 0], [1, 1, 0, 0, 1]])
    ends = np.array([[0, 1, 0, 0, 1], [1, 0, 0, 1, 0]], bool).T
    rows = record.flatten({**given, "terminated": ends, "truncated": np.zeros_like(ends)})
    found = record.first_episodes(rows, 3, "walk")["reward"].tolist()
    assert found == [0, 1, 10000, 10001, 10002, 10003]
    for count, ended in ((5, 4), (6, 4)):  # the fifth is cut, and there is no sixth
        message = f"walk has no time limit, and only {ended} of {count} episodes ended"
        with pytest.raises(UserError, match=message):
            record.first_episodes(rows, count, "walk")


def test_one_long_episode_is_cut():
    assert record.flatten(block([[1, 0, 0, 0]]), rows=3)["reward"].tolist() == [0, 1, 2]


# ---- real agents -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dqn", "sac"])
def test_what_agents_store_is_what_is_recorded(name):
    agent = agents.make(name, "probe:observation", num_envs=3, num_steps=2, hidden=(4,))
    state = jax.eval_shape(agent.init, jax.random.key(0))
    after, block = jax.eval_shape(record.advance(agent, 5, True).program, state)
    assert set(block) == set(datasets.dataset.FIELDS)
    assert {x.shape[:2] for x in block.values()} == {(10, 3)}
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sac", "ppo"])
def test_agents_that_learn_are_collected(name):
    """SAC's stream is what it played, in a ring that is smaller than the run."""
    small = {"num_envs": 4, "hidden": (16,), "learning_rate": 1e-2}
    if name == "sac":
        small |= {"num_steps": 2, "updates": 4, "batch_size": 16, "buffer_size": 64}
        small |= {"learning_starts": 16, "critic_learning_rate": 1e-2}
    else:
        small |= {"num_steps": 16, "minibatches": 2}
    agent = agents.make(name, ENV, **small)
    levels = [each for each in collecting.LEVELS if name == "sac" or "replay" not in each]
    settings = collecting.Settings(rows=150, total_steps=960, evals=4, eval_episodes=4, num_envs=4)
    found = collecting.collect(agent, levels, settings, progress=False)
    means = {level: data.returns().mean() for level, data in found.datasets.items()}
    assert means["expert"] > means["random"] + 0.2
    for data in found.datasets.values():
        reward = 1 - (np.asarray(data.steps.action)[:, 0] - 0.5) ** 2
        np.testing.assert_allclose(data.steps.reward, reward, rtol=1e-5)
    if name == "sac":
        assert len(found.stream) == 960 and len(np.unique(found.stream.steps.action)) > 800


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
        ("sac", ["medium-replay"], {"episodes": 2}, "episodes are of random, medium or expert"),
        ("sac", ["expert"], {"episodes": -1}, "episodes must be at least 1"),
        ("ppo", ["medium-replay"], {}, "medium-replay needs an agent with a replay, such as sac"),
    ],
)
def test_what_cannot_be_collected_is_refused_first(name, levels, settings, message):
    agent = agents.make(name, ENV)
    with pytest.raises(UserError) as caught:
        collecting.collect(agent, levels, collecting.Settings(**settings))
    assert message in str(caught.value)


def rows_of(agent, state, rows, envs=2):
    """What a frozen greedy policy plays, in calls of five steps."""
    player = record.player(agent, envs, True, 5)
    return player.play(state, jax.random.key(1), rows, False, lambda *_: None)


def test_a_recurrent_policy_remembers_what_it_plays():
    """The actions are those of its network, unrolled over each episode by hand."""
    agent = agents.make(
        "ppo",
        "gymnax:Pendulum-v1,max_steps_in_episode=7",
        network="gru",
        hidden=(4,),
        minibatches=1,
    )
    state = quick(agent.init)(jax.random.key(0))
    actor = agent.init.__self__.learner.actor.network
    # A first policy hardly moves.
    head = jax.tree.map(lambda x: 100.0 * x, state.params["actor"]["head"])
    state = state.replace(params={**state.params, "actor": {**state.params["actor"], "head": head}})
    rows = rows_of(agent, state, 42)
    obs = rows["obs"].reshape(6, 7, 3).swapaxes(0, 1)
    first = np.arange(7)[:, None] == np.zeros((1, 6))
    assert rows["first"].reshape(6, 7).T.tolist() == first.tolist()
    start = actor.start(6)
    mean = quick(actor.unroll)(state.params["actor"], start, obs, jax.numpy.asarray(first))[1]
    expected = 2.0 * np.clip(np.asarray(mean), -1.0, 1.0).swapaxes(0, 1).reshape(-1, 1)
    np.testing.assert_allclose(rows["action"], expected, rtol=1e-3, atol=1e-4)
    assert np.ptp(rows["action"]) > 0.1


class seen_steps(rewards.Causal):  # noqa: N801
    """Counts an episode's steps, which the policy sees."""

    def begin_one(self, shared, obs):
        return jax.numpy.float32(0.0)

    def step(self, shared, local, transition):
        return local + 1.0, transition.env_reward

    def view(self, local):
        return local[None]


def test_a_policy_that_sees_the_rewards_memory_sees_it_when_collected():
    """It acts by the number of steps so far: twice the tanh of half of it."""
    settings = {"placement": "step", "hidden": (), "distribution": "tanh_normal"}
    env = "gymnax:Pendulum-v1,max_steps_in_episode=7"
    agent = agents.make("ppo", env, seen_steps(), minibatches=1, **settings)
    state = quick(agent.init)(jax.random.key(0))
    layer = {"kernel": np.zeros((4, 2), np.float32), "bias": np.zeros(2, np.float32)}
    layer["kernel"][3, 0] = 0.5
    actor = {"params": {"Dense_0": jax.tree.map(jax.numpy.asarray, layer)}}
    rows = rows_of(agent, state.replace(params={**state.params, "actor": actor}), 35)
    steps = np.arange(35) % 7
    np.testing.assert_allclose(rows["action"][:, 0], 2.0 * np.tanh(0.5 * steps), rtol=1e-5)


def test_an_agent_that_chooses_before_an_episode_is_collected():
    """Of two lotteries, by the stock that it aims at: to lose little, or to win much."""
    agent = agents.make("eta", "tabular:lotteries", hidden=(4,), quantiles=2, c0=(-3.0,))
    state = quick(agent.init)(jax.random.key(0))
    rows = rows_of(agent, record.kept(agent, state), 20)
    policy = agent.policy(agent.prepare_eval(state, jax.random.key(0)))
    memory = policy.start(jax.random.key(0), 1)
    first = jax.numpy.ones(1, bool)
    action = policy.act(memory, jax.numpy.asarray(rows["obs"][:1]), first)[1]
    assert rows["first"][0] and rows["action"][0] == action[0]
    assert len(rows["reward"]) == 20 and state.replay != ()


def test_training_without_success_has_no_medium():
    run = levels._Run([0, 10, 20], [1.0, 3.0, 2.0], [], [])
    assert levels._medium(run, 0.0) == 1
    with pytest.raises(UserError, match=r"after 20 steps the policy returns 2\.0, random actions"):
        levels._medium(run, 2.0)


# ---- the command -------------------------------------------------------------------


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs a command in this process, in an empty folder: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")

    def call(*argv):
        capsys.readouterr()
        return cli.main([str(word) for word in argv]), *capsys.readouterr()

    return call


def test_the_command_writes_data_and_a_report(shared):
    assert shared.status == 0, shared.err
    assert "ramp: step 480/480" in shared.err and "TQ" in shared.out and "SACo" in shared.out
    names = {f"{level}.{end}" for level in collecting.LEVELS for end in ("npz", "json", "png")}
    assert {each.name for each in shared.folder.iterdir()} == names
    data = datasets.read(shared.folder / "medium-replay.npz")
    assert data.provenance == shared.collected.datasets["medium-replay"].provenance
    about = json.loads((shared.folder / "medium-replay.json").read_text())
    assert about["rows"] == len(data) == 90
    assert about["return"]["mean"] == pytest.approx(data.returns().mean())
    assert 0 < about["saco"] <= 1.5 and about["tq"] < 1.0 and len(about["curve"]) == 13
    assert about["score"] == pytest.approx(data.score(data.returns()).mean())
    assert "jaxrl-reward collect ramp" in about["command"]
    Image.open(shared.folder / "medium-replay.png").verify()


def test_the_same_command_uses_its_files_again(run, shared, monkeypatch):
    before = {each: each.read_bytes() for each in shared.folder.iterdir()}

    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr(collecting, "collect", never)
    line = (*LINE, "--out", shared.folder, "--level")
    status, again, err = run(*line, ",".join(collecting.LEVELS))
    assert (status, again) == (0, shared.out)
    assert err.count("holds this already") == 4
    assert before == {each: each.read_bytes() for each in shared.folder.iterdir()}
    status, _, err = run(*line, "medium", "--rows", "61")
    assert status == 2 and "holds other data: settings.rows = 90, not 61" in err


def test_demonstrations_are_whole_episodes(run):
    """Of seven steps, by two environments: the fifth is the last of three in one of them."""
    line = ("collect", "ramp", "gymnax:Pendulum-v1,max_steps_in_episode=7", "--level", "random")
    sizes = ("--episodes", "5", "--play-envs", "2", "--seed", "3", "--out", "five.npz")
    status, _, err = run(*line, *sizes)
    assert status == 0, err
    data = datasets.read("five.npz")
    assert data.lengths().tolist() == [7] * 5 and len(data) == 35
    assert (data.provenance.level, data.provenance.seed) == ("random", 3)
    asked = json.loads(data.provenance.settings)["settings"]
    assert asked["episodes"] == 5 and "rows" not in asked
    about = json.loads(Path("five.json").read_text())
    assert about["episodes"] == 5 and about["cut_episodes"] == 0
    assert about["return"]["mean"] == pytest.approx(data.returns().mean())
    shown = rewards.demonstrations("five.npz", episodes=5, every=7)
    rows = [0, 7 + 3, 14 + 6, 21 + 2, 28 + 5]  # no two episodes begin at the same step
    np.testing.assert_array_equal(shown.obs, np.asarray(data.steps.obs)[rows])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--level", "expert", "--episodes", "3"], "--rows or --episodes, not both"),
        (["--episodes", "0"], "--episodes must be at least 1"),
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


def test_a_report_that_is_gone_names_what_to_do(collected, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "draw", lambda *_: None)
    path = tmp_path / "a.npz"
    data = collected.datasets["medium"]
    report.write(data, report.describe(data), path)
    assert report.read(path)["saco"] is None
    assert report.holds(path, data.provenance.settings)
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"delete .* to write both"):
        report.read(path)
