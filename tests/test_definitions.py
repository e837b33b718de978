"""Whose a name is."""

import sys
import types
from functools import partial

import pytest

from jaxrl_reward import UserError, ppo
from jaxrl_reward.plugins.definitions import check_free, home


def written(source, path, name):
    """The namespace of a module that was loaded from a file."""
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    exec(source, vars(module))
    return module


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


def test_the_same_definition_may_come_again(tmp_path, modules):
    one = written("def term(): ...\nclass Term: ...", tmp_path / "terms.py", "one")
    two = written("def term(): ...\nclass Term: ...", tmp_path / "terms.py", "two")
    check_free("a", None, one.term)
    check_free("a", one.term, two.term)
    check_free("a", one.Term, two.Term)
    check_free("a", one.Term(), two.Term)
    check_free("a", partial(one.term, 1), two.term)
    check_free("a", one, two)


def test_another_one_is_refused_by_name(tmp_path, modules):
    one = written("def term(): ...\ndef other(): ...", tmp_path / "terms.py", "one")
    two = written("def term(): ...", tmp_path / "mine.py", "two")
    with pytest.raises(UserError, match=rf"^name 'a' is taken by {one.__file__}; choose another$"):
        check_free("name 'a'", one.term, two.term)
    with pytest.raises(UserError, match=r"terms.py \(term\); choose another"):
        check_free("name 'a'", one.term, one.other)
    with pytest.raises(UserError, match=r"taken by jaxrl_reward\.agents\.on_policy\.ppo; choose"):
        check_free("name 'ppo'", "jaxrl_reward.agents.on_policy.ppo", one)
    check_free("name 'ppo'", "jaxrl_reward.agents.on_policy.ppo", ppo)


def test_a_home_is_a_file_of_the_users_or_a_module_of_ours():
    assert home(test_a_home_is_a_file_of_the_users_or_a_module_of_ours) == __file__
    assert home(ppo.Learner) == "jaxrl_reward.agents.on_policy.ppo"
