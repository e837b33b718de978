"""What one formalism says and another cannot: small witnesses, each with its certificate.

"On The Expressivity of Objective-Specification Formalisms in Reinforcement Learning"
(Subramani et al. 2024) orders formalisms by what they can express.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.optimize import linprog

from jaxrl_reward import tabular
from jaxrl_reward.rewards.automata import ltlf, machines
from jaxrl_reward.tabular import objectives, planning
from jaxrl_reward.tabular.returns import functionals

GAMMA = 0.9


def satisfiable(rows):
    """Whether some x has `row @ x >= 1` for all rows: strict inequalities, scaled."""
    rows = np.asarray(rows, float)
    bounds = [(None, None)] * rows.shape[1]
    found = linprog(np.zeros(rows.shape[1]), -rows, -np.ones(len(rows)), bounds=bounds)
    assert found.status in (0, 2)  # solved, or proven infeasible
    return found.status == 0


def pays(edges, rewards, trace):
    """The discounted return of a machine over two labels, 0 and 1."""
    table, state, total = machines.machine(edges, ("a",)), 0, 0.0
    for t, label in enumerate(trace):
        total += GAMMA**t * np.append(rewards, 0.0)[table.edge[state, label]]
        state = table.after[state, label]
    return total


def test_a_machine_pays_for_change_and_no_markov_reward_can():
    """One state, two actions, two steps: `ab` and `ba` are to be better than `aa` and `bb`."""
    good, bad = [(0, 1), (1, 0)], [(0, 0), (1, 1)]

    def markov(trace):  # the return as a function of the two rewards
        return np.sum([GAMMA**t * np.eye(2)[action] for t, action in enumerate(trace)], axis=0)

    assert not satisfiable([markov(x) - markov(y) for x in good for y in bad])
    # Each pair alone is no problem: the certificate is not of a broken set-up.
    assert all(satisfiable([markov(x) - markov(y)]) for x in good for y in bad)
    machine = "0 -a-> 1; 0 -!a-> 2; 1 -!a-> 3; 2 -a-> 3"
    values = {x: pays(machine, [0.0, 0.0, 1.0, 1.0], x) for x in good + bad}
    assert min(values[x] for x in good) > max(values[y] for y in bad)


def test_a_formula_says_it_too_but_no_formula_adds_up():
    """LTL sorts traces into two; a sum of rewards has an order of three."""
    change = ltlf.automaton("(a & X !a) | (!a & X a)", ("a",))

    def accepted(trace):
        state = 0
        for label in trace:
            state = change.after[state, label]
        return bool(change.accepts[state])

    assert [accepted(x) for x in itertools.product((0, 1), repeat=2)] == [False, True, True, False]
    counts = {x: sum(x) for x in itertools.product((0, 1), repeat=2)}
    assert len(set(counts.values())) == 3 > len({True, False})


def test_a_regularised_objective_wants_chance_and_no_reward_does():
    """Of a bandit: entropy makes one mixed policy the only best; a reward always has a pure one."""
    shares = np.linspace(0.001, 0.999, 999)
    policies = np.stack([shares, 1 - shares], -1)
    reward, temperature = np.array([1.0, 0.5]), 0.7
    soft = policies @ reward - temperature * (policies * np.log(policies)).sum(-1)
    bandit = tabular.from_outcomes([[[(1.0, None, r)] for r in reward.tolist()]])
    found = objectives.soft_planning(bandit, GAMMA, temperature, iterations=3)
    best = np.asarray(found.policy[0], float)
    best /= best.sum()
    np.testing.assert_allclose(best, policies[soft.argmax()], atol=2e-3)
    assert found.values[0] > reward.max() + 0.01  # better than either pure policy, of entropy 0
    assert not satisfiable([best - np.eye(2)[0], best - np.eye(2)[1]])


def test_an_objective_of_occupancy_asks_for_both_and_no_reward_does():
    """Two loops: to be equally often in each is best for the entropy of visits, not for a sum."""
    enter = [[(1.0, 1, 0.0)], [(1.0, 2, 0.0)]]
    stay = [[[(1.0, s, 0.0)], [(1.0, s, 0.0)]] for s in (1, 2)]
    loops = tabular.from_outcomes([enter, *stay])
    shares = np.linspace(0, 1, 11)  # of episodes that enter the first loop

    def visits(share):
        policy = jnp.array([[share, 1.0 - share], [0.5, 0.5], [0.5, 0.5]])
        return planning.occupancy(loops, policy, GAMMA).sum(1)[1:] * (1 - GAMMA) / GAMMA

    seen = np.asarray(jax.vmap(visits)(jnp.asarray(shares, jnp.float32)), float)
    seen /= seen.sum(1, keepdims=True)  # up to rounding
    entropy = stats.entropy(seen, axis=1)
    best = seen[entropy.argmax()]
    np.testing.assert_allclose(best, [0.5, 0.5], atol=1e-5)
    assert not satisfiable([best - seen[0], best - seen[-1]])
    # But two rewards and a function of their means do: an outer objective.
    assert seen.min(1).argmax() == entropy.argmax()


def test_an_outer_objective_needs_the_episodes_of_many_runs():
    """Two lotteries of one mean: only what looks at the law, not a sum of rewards, tells them."""
    sure, risky = [(1.0, None, 1.0)], [(0.5, None, 0.0), (0.5, None, 2.0)]
    world = tabular.from_outcomes([[sure, risky]])
    q = np.asarray(planning.value_iteration(world, GAMMA).q[0])
    assert q.tolist() == [1.0, 1.0]
    assert not satisfiable([[q[0] - q[1]]])  # any multiple of the return
    # The distance from 1, which the stock of -1 leaves to go, is 0 or 1.
    grid = tabular.grid(-2.0, 2.0, 5)
    plan = tabular.solve(world, functionals.target(), grid, gamma=1.0, horizon=1)
    np.testing.assert_allclose(plan.q[0, 1], [0.0, -1.0], atol=1e-6)
