"""Modules of the user's own, as `--import` names them: loaded once, known by their checksums.

A file is loaded by its path, and may import what lies beside it while it is; a module by
its name, if Python finds it; a plugin by that of its entry point. Of a user's file and of
what lies beside it the source is run that the checksum is of, and no cached bytecode.
"""

import contextlib
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl_reward.errors import UserError
from jaxrl_reward.files import user_path

GROUP = "jaxrl_reward.plugins"  # of entry points


class Import(NamedTuple):
    """What was imported.

    Attributes:
      name: the absolute path of a file, or the name of a module or plugin.
      files: of each file of the user's that it is made of, the sha256.
    """

    name: str
    files: Mapping[str, str]


_LOADED: dict[str, Import] = {}
_BESIDE: dict[str, "_Source"] = {}  # modules that lie beside a file, by name


def loaded() -> tuple[Import, ...]:
    """What this process has imported so far, in order."""
    return tuple(_LOADED.values())


def load(name: str, expected: Mapping[str, str] | None = None) -> Import:
    """Imports what `--import NAME` would, if it is not imported as it is now.

    Args:
      name: the path of a `.py` file, or the name of a plugin or of a module.
      expected: checksums by file; then no other file of the user's is run.

    Raises:
      UserError: it is not there, is not as expected, or fails as it is run.
    """
    name = full_name(name)
    known = _LOADED.get(name)
    if known is None or (is_file(name) and changes(known)):
        files = _load_file(Path(name), expected) if is_file(name) else _load_module(name)
        known = _LOADED[name] = Import(name, files)
    return known


def full_name(name: str) -> str:
    """A name as a run keeps it: of a file the absolute path."""
    return os.path.abspath(user_path(name)) if is_file(name) else name


def changes(record: Import) -> list[str]:
    """What of an import is not as it was, without running anything of it."""
    found = [path for path, known in record.files.items() if _checksum(path) != known]
    main = record.name if is_file(record.name) else _origin(record.name)
    return found if main in record.files else [*found, record.name]


def plugins() -> dict[str, metadata.EntryPoint]:
    """The entry points of installed packages, by name. None is loaded unless it is named."""
    return {each.name: each for each in metadata.entry_points(group=GROUP)}


def hint() -> str:
    """What to add to an error about an unknown name, where a plugin is not loaded."""
    waiting = sorted(f"--import {name}" for name in plugins() if name not in _LOADED)
    return f"; what a plugin brings needs {' or '.join(waiting)}" if waiting else ""


def place(error: BaseException) -> str | None:
    """Where in what was imported an error comes from, `terms.py, line 3`; None if elsewhere."""
    return _place(error, {path: "" for each in loaded() for path in each.files})


def is_file(name: str) -> bool:
    """Whether it is the path of a file, and not the name of a module."""
    return name.endswith(".py") or os.sep in name


def _checksum(path: str) -> str | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None


# ---- a file, and what lies beside it ------------------------------------------------


class _Source(importlib.machinery.SourceFileLoader):
    """Runs the source of a file and keeps its checksum."""

    def __init__(self, name: str, path: str, files: dict[str, str], expected: Any):
        super().__init__(name, path)
        self._files, self._expected = files, expected

    def get_code(self, fullname: str) -> Any:
        content = self.get_data(self.path)
        found = hashlib.sha256(content).hexdigest()
        if self._expected is not None and self._expected.get(self.path) != found:
            raise UserError(f"{self.path} is not as it was; it is not run")
        self._files[self.path] = found
        return self.source_to_code(content, self.path)

    def stale(self, folder: str) -> bool:
        """Whether a file of this folder would get another module of this name."""
        changed = self._files.get(self.path) != _checksum(self.path)
        return changed or not self.path.startswith(folder + os.sep)


class _Beside(importlib.abc.MetaPathFinder):
    """Finds the modules of a folder, and of packages in it."""

    def __init__(self, folder: str, expected: Mapping[str, str] | None):
        self.folder, self.expected = folder, expected
        self.files: dict[str, str] = {}

    def source(self, name: str, path: str) -> _Source:
        return _Source(name, path, self.files, self.expected)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> Any:
        del target
        for folder in [self.folder] if path is None else path:
            inside = os.path.join(folder, fullname.rpartition(".")[2])
            for file, places in ((f"{inside}/__init__.py", [inside]), (f"{inside}.py", None)):
                mine = file.startswith(self.folder + os.sep) and os.path.isfile(file)
                if mine and (self.expected is None or file in self.expected):
                    _BESIDE[fullname] = source = self.source(fullname, file)
                    return importlib.util.spec_from_file_location(
                        fullname, file, loader=source, submodule_search_locations=places
                    )
        return None


def _load_file(path: Path, expected: Mapping[str, str] | None) -> dict[str, str]:
    if not path.is_file():
        raise UserError(f"there is no file {path}; --import takes a .py file or a module's name")
    finder = _Beside(str(path.parent), expected)
    name = f"_own_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=finder.source(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _first(finder), _one_line(str(path), finder.files):
        sys.modules[name] = module  # dataclasses look there
        spec.loader.exec_module(module)
    return finder.files


@contextlib.contextmanager
def _first(finder: _Beside) -> Iterator[None]:
    """What lies in this folder is found, and not what has the same name in another."""
    stale = [name for name, source in _BESIDE.items() if source.stale(finder.folder)]
    hidden = {name: sys.modules.pop(name) for name in stale if name in sys.modules}
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name, module in hidden.items():
            sys.modules.setdefault(name, module)


@contextlib.contextmanager
def _one_line(what: str, files: Mapping[str, str]) -> Iterator[None]:
    """Whatever fails in a user's module is a `UserError` that names the place."""
    try:
        yield
    except UserError as error:
        text = str(error)
        raise UserError(text if what in text else f"{what}: {text}") from error
    except SystemExit as error:
        raise UserError(
            f"{what} ends the program as it is imported; put what it does under "
            "`if __name__ == '__main__':`"
        ) from error
    except Exception as error:
        line = f"{type(error).__name__}: {' '.join(str(error).split())}"
        place = _place(error, files) or what
        raise UserError(f"{place} fails as it is imported: {line}") from error


def _place(error: BaseException, files: Mapping[str, str]) -> str | None:
    """`terms.py, line 3`, of the user's files."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename in files]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else None


# ---- a module by its name -------------------------------------------------------------


def _load_module(name: str) -> dict[str, str]:
    module = _module_of(name)
    if _origin(name) is None:
        raise UserError(
            f"there is no module {name!r} that Python finds; --import takes a .py file, or what "
            "is installed or on PYTHONPATH"
        )
    with _one_line(name, {}):
        importlib.import_module(module)
    top = module.partition(".")[0]
    mine = [each for key, each in list(sys.modules.items()) if f"{key}.".startswith(f"{top}.")]
    files = {getattr(each, "__file__", None): None for each in mine}
    return {path: known for path in files if path and (known := _checksum(path))}


def _module_of(name: str) -> str:
    """The module that a name means: a plugin's, or one of this name."""
    plugin = plugins().get(name)
    return name if plugin is None else plugin.module


def _origin(name: str) -> str | None:
    """The file of a module or plugin, found without running anything."""
    first, *rest = _module_of(name).split(".")
    try:
        spec = importlib.util.find_spec(first)
        for part in rest:
            places = None if spec is None else spec.submodule_search_locations
            if spec is None or places is None:
                return None
            full = f"{spec.name}.{part}"
            spec = importlib.machinery.PathFinder.find_spec(full, list(places))
    except (ImportError, ValueError):
        return None
    return None if spec is None else spec.origin
