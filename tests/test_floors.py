"""What loads what: more than `scripts/lint` sees, which knows imports but not what they bring."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxrl_reward

ROOT = Path(jaxrl_reward.__file__).parents[1]

LOADED = """
import sys
import jaxrl_reward.{part}
loaded = sorted(name for name in {others} if f"jaxrl_reward.{{name}}" in sys.modules)
loaded += sorted({{"gymnax", "brax", "mujoco"}} & sys.modules.keys())
assert not loaded, loaded
"""
ABOVE_DATA = ("envs", "rewards", "agents", "training", "collecting", "report")


@pytest.mark.parametrize(
    ("part", "others"), [("data", ABOVE_DATA), ("rewards", ("data", "envs", *ABOVE_DATA[2:]))]
)
def test_data_and_rewards_load_no_agent_and_no_simulator(part, others):
    line = LOADED.format(part=part, others=others)
    subprocess.run([sys.executable, "-c", line], check=True, timeout=100)


def own_packages(path: Path) -> set[str]:
    """The packages that a file is in, by name."""
    parts = path.relative_to(ROOT).parent.parts
    return {".".join(parts[: i + 1]) for i in range(len(parts))}


def from_own_package(path: Path) -> list[str]:
    """What a file imports out of a package that it is itself in, and that is no module there."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in own_packages(path):
            folder = ROOT.joinpath(*node.module.split("."))
            inside = {each.stem for each in folder.iterdir()}
            found += [f"{path.name}: {each.name}" for each in node.names if each.name not in inside]
    return found


def test_no_module_imports_what_its_own_package_gathers_from_it():
    files = [each for each in ROOT.glob("jaxrl_reward/**/*.py") if each.name != "__init__.py"]
    assert len(files) > 200
    assert [line for each in files for line in from_own_package(each)] == []


def test_such_an_import_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.py").touch()
    file = tmp_path / "a" / "b" / "y.py"
    file.write_text("from a.b import x, made\ndef f():\n    from a import b, other\n")
    assert from_own_package(file) == ["y.py: made", "y.py: other"]


@pytest.mark.parametrize("root", ["jaxrl_reward", "experiments"])
def test_no_folder_is_too_long_to_be_read_at_a_glance(root):
    folders = {path.parent for path in (ROOT / root).rglob("*.py")}
    assert len(folders) >= 9
    long = {str(each): count for each in folders if (count := len(list(each.glob("*.py")))) > 15}
    assert long == {}
