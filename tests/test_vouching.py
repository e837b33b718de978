"""A checksum with a key of the user's: nothing else vouches."""

import os
import stat

import pytest

from jaxrl_reward.plugins import vouching

WHAT = [{"name": "/mine/terms.py", "files": {"/mine/terms.py": "ab"}}]


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_what_was_signed_holds_and_nothing_else():
    assert not vouching.holds(WHAT, "")  # there is no key, and none is made
    assert not vouching.key_file().exists()
    signature = vouching.sign(WHAT)
    assert vouching.holds(WHAT, signature) and vouching.sign(WHAT) == signature
    assert not vouching.holds([{**WHAT[0], "name": "/mine/others.py"}], signature)
    for wrong in ("", "0" * 64, "é", None, 3, signature[:-1]):
        assert not vouching.holds(WHAT, wrong)


def test_another_user_or_machine_has_another_key(tmp_path, monkeypatch):
    signature = vouching.sign(WHAT)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert vouching.sign(WHAT) != signature
    assert not vouching.holds(WHAT, signature)


def test_the_key_is_the_users_alone(tmp_path):
    signature, key = vouching.sign(WHAT), vouching.key_file()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert os.listdir(key.parent) == ["key"]
    key.chmod(0o644)
    with pytest.warns(UserWarning, match="can be read by others and vouches for nothing; remove"):
        assert not vouching.holds(WHAT, signature)
    with pytest.warns(UserWarning, match="can be read by others"):
        assert vouching.sign(WHAT) == ""


def test_a_key_that_is_cut_short_vouches_for_nothing():
    signature, key = vouching.sign(WHAT), vouching.key_file()
    key.write_bytes(key.read_bytes()[:-1])
    assert not vouching.holds(WHAT, signature)


def test_a_key_that_was_made_meanwhile_stays():
    vouching.sign(WHAT)
    before = vouching.key_file().read_bytes()
    vouching._make(vouching.key_file())
    assert vouching.key_file().read_bytes() == before


def test_without_a_home_nothing_is_signed(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert vouching.sign(WHAT) == ""


def test_a_state_folder_that_is_not_absolute_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert vouching.key_file() == tmp_path / ".local" / "state" / "jaxrl-reward" / "key"
