"""What a run has imported: loaded again for its user, and for nobody else without a word."""

import json

import pytest

from jaxrl_reward import UserError
from jaxrl_reward.plugins import imports
from jaxrl_reward.training import imported
from jaxrl_reward.training.record.run_folder import RunFolder, load_config
from jaxrl_reward.training.sweeps import sweep_spec, trial

MARK = "with open({mark!r}, 'a') as file:\n    file.write({text!r})\n"


@pytest.fixture
def mine(registers, tmp_path):
    """A file of the user's that leaves a mark where it is run."""
    path = tmp_path / "mine.py"
    path.write_text(MARK.format(mark=str(tmp_path / "mark"), text="x"))
    return path


@pytest.fixture
def config(mine):
    """What a run that imported it has written, in a process that is over."""
    imports.load(str(mine))
    found = json.loads(json.dumps(imported.record()))
    forget(mine)
    return found


def forget(mine):
    imports._LOADED.clear()
    (mine.parent / "mark").unlink()


def marks(mine):
    mark = mine.parent / "mark"
    return mark.read_text() if mark.exists() else ""


def load(config, **how):
    told = []
    imported.load("runs/a", config, told.append, **how)
    return told


def test_nothing_is_kept_where_nothing_is_imported(registers):
    assert imported.record() == {} and load({}) == [] and imported.checksum(()) == ""


def test_what_this_user_imported_is_imported_again_and_said(mine, config):
    assert load(config) == [f"imports {mine}, as runs/a says"]
    assert marks(mine) == "x" and load(config) == []


def test_a_folder_from_elsewhere_needs_trust(mine, config):
    for signature in ({}, {"vouched": ""}, {"vouched": "0" * 64}, {"vouched": config["imports"]}):
        foreign = {"imports": config["imports"], **signature}
        with pytest.raises(
            UserError, match=rf"^runs/a was not made here and would run {mine}: read"
        ):
            load(foreign)
        assert marks(mine) == ""
    assert load(foreign, trust=True) == [f"imports {mine}, as runs/a says"] and marks(mine) == "x"


def test_a_signature_is_of_all_that_is_named(mine, config):
    other = mine.with_name("other.py")
    other.write_text(mine.read_text())
    ((record, *_), sums) = config["imports"], dict(config["imports"][0]["files"])
    changed = [
        [record, {"name": str(other), "files": {str(other): sums[str(mine)]}}],
        [{"name": str(other), "files": sums}],
        [{"name": str(mine), "files": {**sums, str(other): sums[str(mine)]}}],
        [record, record],
    ]
    for each in changed:
        with pytest.raises(UserError, match="was not made here"):
            load({**config, "imports": each})
    assert marks(mine) == ""


def test_all_files_that_would_be_run_are_named(mine, config):
    helper = str(mine.with_name("a_helper.py"))
    files = {**config["imports"][0]["files"], helper: "0" * 64}
    with pytest.raises(UserError, match=rf"would run {helper}, {mine}: read that"):
        load({"imports": [{"name": str(mine), "files": files}]})


def test_a_file_that_has_changed_needs_trust_too_and_is_told(mine, config):
    mine.write_text(mine.read_text() + "\n")
    with pytest.raises(
        UserError, match=rf"^{mine} is not what it was when runs/a was made: say --"
    ):
        load(config)
    assert marks(mine) == ""
    told = load(config, trust=True)
    assert told[0] == f"warning: {mine} has changed since runs/a was made" and marks(mine) == "x"


def test_a_run_goes_on_with_what_it_was_alone(mine, config):
    source = mine.read_text()
    mine.write_text(source + "\n")
    for trust in (False, True):
        with pytest.raises(UserError, match=rf"^{mine} is not what it was when runs/a was started"):
            load(config, trust=trust, resume=True)
    mine.unlink()
    with pytest.raises(UserError, match=rf"^{mine} is not what it was when runs/a was started"):
        load(config, resume=True)
    assert marks(mine) == ""
    mine.write_text(source)
    assert load(config, resume=True) == [f"imports {mine}, as runs/a says"]


def test_what_the_user_names_stands_for_it(mine, config):
    moved = mine.with_name("moved")
    moved.mkdir()
    copy = moved / "mine.py"
    mine.rename(copy)
    foreign = {"imports": config["imports"]}
    imports.load(str(copy))
    assert load(foreign) == [] and load(foreign, resume=True) == []
    copy.write_text(copy.read_text() + "\n")
    imports.load(str(copy))
    assert load(foreign) == [f"warning: {copy} has changed since runs/a was made"]
    with pytest.raises(UserError, match=rf"^{copy} is not what it was when runs/a was started"):
        load(foreign, resume=True)


@pytest.mark.parametrize(
    "wrong",
    [
        "terms.py",
        ["terms.py"],
        [{"name": "terms.py"}],
        [{"name": "", "files": {}}],
        [{"name": 3, "files": {}}],
        [{"name": "terms.py", "files": {"a": 1}}],
        [{"name": "terms.py", "files": [], "more": 1}],
    ],
)
def test_what_is_no_record_is_refused(registers, wrong):
    with pytest.raises(UserError, match=r"^runs/a has imports in it that cannot be read"):
        load({"imports": wrong}, trust=True)


def test_a_name_does_not_move_the_cursor(registers):
    name = "/tmp/a\x1b[2K.py"
    with pytest.raises(UserError) as told:
        load({"imports": [{"name": name, "files": {name: ""}}]})
    assert "\x1b" not in str(told.value) and "\\x1b" in str(told.value)


# ---- in a folder ----------------------------------------------------------------------


def test_a_folder_keeps_it_and_refuses_to_go_on_with_another(mine, tmp_path):
    imports.load(str(mine))
    with RunFolder.claim(tmp_path / "out") as folder:
        folder.register({"a": {"x": 1}})
        (folder.checkpoints("a") / "1").mkdir(parents=True)
    config = load_config(tmp_path / "out")
    assert [each["name"] for each in config["imports"]] == [str(mine)] and config["vouched"]
    with RunFolder.claim(tmp_path / "out", resume=True) as folder:
        folder.register({"a": {"x": 1}})
    mine.write_text(mine.read_text() + "\n")
    imports.load(str(mine))
    changed = pytest.raises(UserError, match=rf"^{mine} is not what it was when .*out was star")
    with RunFolder.claim(tmp_path / "out", resume=True) as folder, changed:
        folder.register({"a": {"x": 1}})
    assert load_config(tmp_path / "out") == config


# ---- in a sweep -----------------------------------------------------------------------


def test_a_sweep_imports_what_lies_beside_its_file(mine, tmp_path, monkeypatch):
    mine.write_text(mine.read_text() + "from jaxrl_reward import agents\n")
    mine.write_text(mine.read_text() + "agents.register('own', agents.module('ppo'))\n")
    (tmp_path / "mine.toml").write_text(
        'import = ["mine.py"]\nagent = "own"\nenv = "gymnax:CartPole-v1"\n[grid]\nnum_envs = [8]\n'
    )
    with monkeypatch.context() as patch:
        patch.chdir("/")
        sweep = sweep_spec.read(tmp_path / "mine.toml")
    assert [each.agent for each in sweep.trials] == ["own"] and marks(mine) == "x"
    command = trial.as_command(sweep.trials[0])
    assert command.startswith("jaxrl-reward train own ") and f"--import {mine}" in command


@pytest.mark.parametrize("wrong", ['"mine.py"', "[1]", "true"])
def test_what_a_sweep_imports_is_a_list(registers, tmp_path, wrong):
    (tmp_path / "mine.toml").write_text(f"import = {wrong}\n")
    with pytest.raises(UserError, match=r'import must be a list, such as import = \["terms.py"\]'):
        sweep_spec.read(tmp_path / "mine.toml")


def test_another_process_imports_what_the_sweep_did_or_nothing(mine, tmp_path):
    imports.load(str(mine))
    sweep = sweep_spec.Sweep("s", (sweep_spec.Trial("t", folder="t"),))
    trial.write_sweep(tmp_path, sweep)
    checksum = imported.checksum(imports.loaded())
    forget(mine)
    found = trial.read_imports(tmp_path, checksum)
    told = []
    imported.again(found, told.append)
    assert marks(mine) == "x" and told == [f"imports {mine}"]
    with pytest.raises(UserError, match=r"sweep.json has changed; start the sweep again with"):
        trial.read_imports(tmp_path, "0" * 64)
    forget(mine)
    mine.write_text(mine.read_text() + "\n")
    with pytest.raises(UserError, match=rf"^{mine} has changed since it was imported"):
        imported.again(found, told.append)
    trial.run(tmp_path, sweep.trials[0], found)
    assert trial.failure(tmp_path, sweep.trials[0]).kind == "bad_input" and marks(mine) == ""
