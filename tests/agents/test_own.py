"""Agents of the user's own: registered, made, refused, and packed into programs."""

import types

import jax
import jax.numpy as jnp
import pytest

from jaxrl_reward import UserError, agents, bc, envs, ppo, td3, training
from jaxrl_reward.agents import table
from jaxrl_reward.settings import setting
from jaxrl_reward.training.runs import Run, lanes_of, packs

ENV = "gymnax:CartPole-v1"
SMALL = {"num_envs": 2, "num_steps": 8, "epochs": 1, "minibatches": 1, "hidden": (4,)}


@pytest.fixture(autouse=True)
def alone(registers): ...


class Config(ppo.Config):
    """PPO's, and a weight."""

    pull: float = setting(1.0, "weight of the mean of the value", low=0.0)


class Learner(ppo.Learner):
    """PPO whose value is drawn to 0."""

    def loss(self, config, params, batch):
        loss, metrics = super().loss(config, params, batch)
        return loss + config.pull * jnp.square(self.replay(params, batch)[1]).mean(), metrics


def test_a_learner_is_an_agent_in_a_line():
    assert agents.register("ppo_pulled", Learner, Config) is Learner
    assert "ppo_pulled" in agents.names() and not agents.learns_from_data("ppo_pulled")
    assert agents.module("ppo_pulled").__doc__ == "PPO whose value is drawn to 0."
    agent = agents.make("ppo_pulled", ENV, pull=0.5, **SMALL)
    assert (agent.name, agent.config.pull, agent.config.gamma) == ("ppo_pulled", 0.5, 0.99)
    assert agent.remake(agent.config).name == "ppo_pulled"
    with pytest.raises(UserError, match=r"ppo_pulled's pull must be .* not -1"):
        agents.make("ppo_pulled", ENV, pull=-1.0)
    with pytest.raises(UserError, match="ppo_pulled has no setting 'pul', did you mean 'pull'"):
        agents.make("ppo_pulled", ENV, pul=1.0)
    with pytest.raises(UserError, match="unknown agent 'ppo_puled', did you mean 'ppo_pulled'"):
        agents.make("ppo_puled", ENV)


def test_without_its_change_it_is_the_agent_to_the_bit():
    agents.register("ppo_pulled", Learner, Config)
    found = []
    for name, own in (("ppo", {}), ("ppo_pulled", {"pull": 0.0}), ("ppo_pulled", {"pull": 1.0})):
        agent = agents.make(name, ENV, **SMALL, **own)
        state, _ = jax.jit(lambda key, agent=agent: agent.iterate(agent.init(key)))(
            jax.random.key(0)
        )
        found.append(jax.flatten_util.ravel_pytree(state.params)[0])
    assert (found[0] == found[1]).all() and not (found[0] == found[2]).all()


def test_a_module_is_an_agent_by_its_own_name():
    module = types.SimpleNamespace(Config=ppo.Config, make=ppo.make)
    agents.register("mine", module)
    assert agents.make("mine", ENV, **SMALL).name == "mine"  # and a run of it is made again so
    (lane,) = lanes_of([Run("a", "mine", env=ENV, settings=SMALL, total_steps=160)])
    assert lane.configuration()["agent"] == "mine"


def test_one_that_learns_from_data():
    class Cloned(bc.Learner):
        """BC as it is."""

    agents.register("cloned", Cloned, bc.Config)
    assert agents.learns_from_data("cloned") and not agents.learns_from_data("sac")
    assert table.from_data() == ["bc", "cloned", "cql", "edac", "iql", "riql"]
    assert agents.make("cloned", "gymnax:Pendulum-v1").name == "cloned"
    with pytest.raises(UserError, match="sac plays and takes no data; these do: bc, cloned, cql"):
        agents.make("sac", "gymnax:Pendulum-v1", data="x.npz")
    module = types.SimpleNamespace(Config=bc.Config, make=bc.make)
    agents.register("by_module", module, learns_from_data=True)
    assert agents.make("by_module", "gymnax:Pendulum-v1").name == "by_module"


def test_one_from_a_store():
    class Own(td3.Learner):
        """TD3 as it is."""

    agents.register("td3_own", Own, td3.Config)
    assert agents.make("td3_own", "gymnax:Pendulum-v1").name == "td3_own"
    with pytest.raises(UserError, match="td3_own needs Box actions"):
        agents.make("td3_own", ENV)


def other_make(config, env, reward=None): ...


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("ppo", Learner, Config),
            r"agent name 'ppo' is taken by jaxrl_reward\.agents\.on_policy\.ppo; choose",
        ),
        (
            ("taken", Learner, Config),
            r"'taken' is taken by .*test_own.py \(Taken\); choose another",
        ),
        (("my-ppo", Learner, Config), "agent name 'my-ppo' is not an identifier"),
        (("a", Learner), r"agent 'a' needs its settings: register\('a', Learner, Config\), where"),
        (("a", Learner, dict), "Config is a class of Settings, not <class 'dict'>"),
        (
            ("a", agents.shells.shell.Learner, Config),
            "Learner must be a Learner of agents.shells.on",
        ),
        (
            ("a", other_make),
            "agent 'a' must be a shell's Learner, or have a Config and a make; oth",
        ),
        (("a", ppo, Config), "agent 'a' has a Config of its own; leave the second one out"),
    ],
)
def test_what_cannot_be_registered(arguments, message):
    class Taken(ppo.Learner):
        """Another."""

    agents.register("taken", Taken, Config)
    before = dict(table._OWN)
    with pytest.raises(UserError, match=message):
        agents.register(*arguments)
    assert before == table._OWN


def test_the_same_definition_may_come_again():
    agents.register("ppo_pulled", Learner, ppo.Config)
    agents.register("ppo_pulled", Learner, Config)
    assert agents.module("ppo_pulled").Config is Config


def test_runs_of_one_are_one_program_and_of_two_are_two():
    agents.register("ppo_pulled", Learner, Config)
    env = envs.make(ENV)

    def run(name, agent, **own):
        return Run(name, agents.make(agent, env, **SMALL, **own), total_steps=160)

    several = [run("a", "ppo_pulled", pull=0.1), run("b", "ppo_pulled", pull=0.2), run("c", "ppo")]
    shared = [[lane.run.name for lane in pack.lanes] for pack in packs(lanes_of(several))]
    assert shared == [["a", "b"], ["c"]]
    # One that is not registered, and calls itself by a name that is.
    made = agents.shells.on_policy.make(
        "ppo", several[2].agent.config, env, None, Learner, ppo.check
    )
    several = [run("c", "ppo"), Run("d", made, total_steps=160)]
    assert len(packs(lanes_of(several))) == 2


def test_it_trains_as_others_do():
    agents.register("ppo_pulled", Learner, Config)
    agent = agents.make("ppo_pulled", ENV, **SMALL)
    result = training.train(agent, total_steps=32, evals=1, eval_episodes=1, progress=False)
    assert list(result.summary["arms"]) == ["ppo_pulled"]


# ---- what fails in a loss of one's own ---------------------------------------------------


class Spoilt(Learner):
    """PPO whose loss is made by `how`."""

    def loss(self, config, params, batch):
        return self.how(*super().loss(config, params, batch))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda self, loss, metrics: (jnp.stack([loss, loss]), metrics), "scalar-output functions"),
        (lambda self, loss, metrics: loss, "two-element tuple"),
        (lambda self, loss, metrics: (self.nope, metrics), "no attribute 'nope'"),
        (lambda self, loss, metrics: (loss if loss > 0 else -loss, metrics), "boolean conversion"),
    ],
)
def test_a_loss_that_fails_is_told_in_a_line(how, message):
    agents.register("spoilt", type("Spoilt", (Spoilt,), {"how": how}), Config)
    agent = agents.make("spoilt", ENV, **SMALL)
    with pytest.raises(UserError, match=f"^agent 'spoilt' fails: .*{message}") as error:
        training.train(agent, total_steps=16, evals=1, progress=False)
    assert "\n" not in str(error.value)
