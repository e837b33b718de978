"""Modules of the user's own: what is run, once, and what is known of it."""

import hashlib
import importlib.util
import os
import py_compile
import sys
from importlib import metadata

import pytest

from jaxrl_reward import UserError
from jaxrl_reward.plugins import imports

SAYS = "import os\nos.environ['RAN'] = os.environ.get('RAN', '') + {!r}\n"


@pytest.fixture(autouse=True)
def alone(registers, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(imports, "_BESIDE", {})
    monkeypatch.setenv("RAN", "")
    monkeypatch.chdir(tmp_path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def checksum(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def ran():
    return os.environ["RAN"]


# ---- files ------------------------------------------------------------------------


def test_a_file_and_what_lies_beside_it_are_run_once(tmp_path):
    helper = write(tmp_path / "helper.py", SAYS.format("h"))
    inner = write(tmp_path / "package" / "__init__.py", "from package import inner\n")
    part = write(tmp_path / "package" / "inner.py", SAYS.format("i"))
    terms = write(tmp_path / "terms.py", "import helper, package\n" + SAYS.format("t"))
    found = imports.load("terms.py")
    assert found.name == terms and ran() == "hit"
    assert dict(found.files) == {path: checksum(path) for path in (terms, helper, inner, part)}
    assert imports.load(terms) is found and imports.loaded() == (found,) and ran() == "hit"
    assert str(tmp_path) not in sys.path


def test_a_file_that_has_changed_is_run_again(tmp_path):
    write(tmp_path / "helper.py", SAYS.format("1"))
    write(tmp_path / "terms.py", "import helper\n")
    before = imports.load("terms.py")
    write(tmp_path / "helper.py", SAYS.format("two"))
    assert imports.changes(before) == [str(tmp_path / "helper.py")]
    after = imports.load("terms.py")
    assert ran() == "1two" and imports.changes(after) == [] and imports.loaded() == (after,)


def test_two_folders_have_each_its_own_helper(tmp_path):
    for name in "ab":
        write(tmp_path / name / "helper.py", f"NAME = {name!r}\n")
        write(tmp_path / name / "terms.py", "import os, helper\nos.environ['RAN'] += helper.NAME\n")
        imports.load(f"{name}/terms.py")
    assert ran() == "ab" and len(imports.loaded()) == 2


def test_cached_bytecode_is_neither_run_nor_written(tmp_path):
    terms = write(tmp_path / "terms.py", SAYS.format("evil"))
    cached = importlib.util.cache_from_source(terms)
    py_compile.compile(
        terms, cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    write(tmp_path / "terms.py", SAYS.format("good"))
    imports.load("terms.py")
    assert ran() == "good"
    os.remove(cached)
    write(tmp_path / "terms.py", SAYS.format(" again"))
    imports.load("terms.py")
    assert ran() == "good again" and not os.path.exists(cached)


def test_only_what_is_expected_is_run(tmp_path):
    terms = write(tmp_path / "terms.py", SAYS.format("t") + "import helper\n")
    known = {terms: checksum(terms)}
    write(tmp_path / "helper.py", SAYS.format("h"))
    with pytest.raises(UserError, match=r"terms.py, line 3 fails .* No module named 'helper'"):
        imports.load("terms.py", known)
    assert ran() == "t"
    with pytest.raises(UserError, match=r"terms.py is not as it was; it is not run"):
        imports.load("terms.py", {terms: "0" * 64})
    assert ran() == "t" and imports.loaded() == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import math\n1 / 0\n", r"^{}, line 2 fails as it is imported: ZeroDivisionError: div"),
        ("def f(:\n", r"^{}, line 1 fails as it is imported: SyntaxError: "),
        ("import nowhere\n", r"^{}, line 1 fails as it is imported: ModuleNotFoundError: No mod"),
        ("raise SystemExit(3)\n", r"^{} ends the program as it is imported; put what it does und"),
        (
            "from jaxrl_reward import rewards\nrewards.parse('x')\n",
            r"^{}: reward: unknown ",
        ),
        ("from . import x\n", r"^{}, line 1 fails as it is imported: ImportError: "),
    ],
)
def test_what_fails_is_one_line_with_the_place(tmp_path, text, message):
    path = write(tmp_path / "terms.py", text)
    with pytest.raises(UserError, match=message.format(path)) as told:
        imports.load("terms.py")
    assert "\n" not in str(told.value) and imports.loaded() == ()
    assert not [x for x in sys.meta_path if isinstance(x, imports._Beside)]


@pytest.mark.parametrize("name", ["nowhere.py", "a/b", "~/nowhere.py", "./folder.py"])
def test_a_file_that_is_none(tmp_path, name):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UserError, match=r"^there is no file /.*; --import takes a .py file or a "):
        imports.load(name)


# ---- modules and plugins ------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`mine.terms`, where Python finds it."""
    site = tmp_path / "site"
    write(site / "mine" / "__init__.py", SAYS.format("p"))
    write(site / "mine" / "terms.py", SAYS.format("t"))
    monkeypatch.syspath_prepend(str(site))
    return site


def test_a_module_is_one_that_python_finds(package):
    assert imports._origin("mine.terms") == str(package / "mine" / "terms.py") and ran() == ""
    found = imports.load("mine.terms")
    assert found.name == "mine.terms" and ran() == "pt"
    paths = [str(package / "mine" / name) for name in ("__init__.py", "terms.py")]
    assert dict(found.files) == {path: checksum(path) for path in paths}
    assert imports.changes(found) == []


def test_a_module_that_has_moved_or_changed_is_told_without_running_it(package, monkeypatch):
    files = {str(package / "mine" / name): "" for name in ("__init__.py", "terms.py")}
    known = imports.Import("mine.terms", {path: checksum(path) for path in files})
    assert imports.changes(known) == []
    write(package / "mine" / "terms.py", SAYS.format("evil"))
    assert imports.changes(known) == [str(package / "mine" / "terms.py")]
    other = package.parent / "other"
    write(other / "mine" / "__init__.py", SAYS.format("evil"))
    monkeypatch.syspath_prepend(str(other))
    assert "mine.terms" in imports.changes(known) and ran() == ""


@pytest.mark.parametrize("name", ["nowhere", "nowhere.at.all", "mine.nowhere", "", ".x", "a..b"])
def test_a_module_that_is_none(package, name):
    with pytest.raises(UserError, match=rf"^there is no module '{name}' that Python finds; --im"):
        imports.load(name)
    assert ran() == ""


@pytest.fixture
def plugin(package, monkeypatch):
    """An installed package with the entry point `cool`."""
    about = package / "mine-1.2.dist-info"
    write(about / "METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1.2\n")
    write(about / "entry_points.txt", "[jaxrl_reward.plugins]\ncool = mine.terms\n")
    importlib.invalidate_caches()


def test_a_plugin_is_loaded_by_its_name_and_not_before(plugin):
    assert imports.plugins()["cool"].module == "mine.terms"
    assert imports.hint() == "; what a plugin brings needs --import cool" and ran() == ""
    found = imports.load("cool")
    assert found.name == "cool" and ran() == "pt" and imports.hint() == ""
    assert imports.changes(found) == [] and len(found.files) == 2


def test_without_plugins_there_is_nothing_to_hint_at(monkeypatch):
    monkeypatch.setattr(metadata, "entry_points", lambda group: [])
    assert imports.hint() == ""
