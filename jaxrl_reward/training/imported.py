"""What of the user's own a run has imported: kept with it, and loaded again where it is used.

    "imports": [{"name": "/mine/terms.py", "files": {"/mine/terms.py": "SHA-256"}}]
    "vouched": a checksum of that with a key of the user's, see `vouching.py`

A run's folder that this user made on this machine may load what it names, as long as that
is what it was. Of any other folder the user has to say so.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrl_reward.errors import UserError
from jaxrl_reward.plugins import imports, vouching
from jaxrl_reward.plugins.imports import Import


def record() -> dict[str, Any]:
    """The entries of `config.json` for what this process has imported; none if it is nothing."""
    found = [each._asdict() for each in imports.loaded()]
    found = [{**each, "files": dict(each["files"])} for each in found]
    return {"imports": found, "vouched": vouching.sign(found)} if found else {}


def checksum(records: Sequence[Import]) -> str:
    """Of what was imported; empty if it is nothing."""
    content = json.dumps([[each.name, sorted(each.files.items())] for each in records])
    return hashlib.sha256(content.encode()).hexdigest() if records else ""


def again(records: Iterable[Import], tell: Callable[[str], None]) -> None:
    """Imports in another process what one has imported, if it is as it was.

    Args:
      records: what that is.
      tell: is told of each, in a line.

    Raises:
      UserError: it is not, or cannot be imported.
    """
    for each in records:
        if changed := imports.changes(each):
            raise UserError(f"{_shown(changed[0])} has changed since it was imported")
        tell(f"imports {_shown(each.name)}")
        imports.load(each.name, each.files)


def of(where: Path | str, config: Mapping[str, Any]) -> list[Import]:
    """What a run says that it imported.

    Raises:
      UserError: that cannot be read.
    """
    found = config.get("imports", [])
    if isinstance(found, list) and all(map(_readable, found)):
        return [Import(each["name"], each["files"]) for each in found]
    raise UserError(f"{where} has imports in it that cannot be read; start in a new folder")


def check_same(where: Path | str, config: Mapping[str, Any]) -> None:
    """Raises a `UserError` where a run would go on with other code than it began with."""
    for each in of(where, config):
        now = _match(each)
        changed = imports.changes(each) if now is None else _differ(each, now)
        if changed:
            raise UserError(
                f"{_shown(changed[0])} is not what it was when {where} was started, which goes on "
                "with that alone: put it back, or choose another --out"
            )


def load(
    where: Path | str,
    config: Mapping[str, Any],
    tell: Callable[[str], None],
    *,
    trust: bool = False,
    resume: bool = False,
) -> None:
    """Loads what a run imported, where that may be, and nothing else.

    What the user has named, by `--import`, is not loaded again.

    Args:
      where: the run's folder, for messages.
      config: the content of its `config.json`.
      tell: is told, in a line, before anything is run.
      trust: the user's word for it, whoever made the folder and whatever has changed.
      resume: whether the run is to go on, with what it was.

    Raises:
      UserError: the user has to say `--trust`, or something cannot be loaded.
    """
    wanted = of(where, config)
    if resume:
        check_same(where, config)
    named = {each.name: _match(each) for each in wanted}
    for each in wanted:
        now = named[each.name]
        if now is not None and (changed := _differ(each, now)):
            tell(f"warning: {_shown(changed[0])} has changed since {where} was made")
    missing = [each for each in wanted if named[each.name] is None]
    if not missing:
        return
    names = ", ".join(_shown(each.name) for each in missing)
    if not trust and not vouching.holds(config["imports"], config.get("vouched")):
        files = ", ".join(_shown(path) for each in missing for path in _run(each))
        raise UserError(
            f"{where} was not made here and would run {files}: read that, and say --trust, or "
            "name what you have with --import"
        )
    changed = {each.name: imports.changes(each) for each in missing}
    if first := next((paths[0] for paths in changed.values() if paths), None):
        if not Path(first).exists():
            raise UserError(
                f"{_shown(first)}, which {where} imported, is not there any more: name it where it "
                "is now with --import"
            )
        if not trust:
            raise UserError(
                f"{_shown(first)} is not what it was when {where} was made: say --trust to run it "
                "as it is, or name it with --import"
            )
        tell(f"warning: {_shown(first)} has changed since {where} was made")
    tell(f"imports {names}, as {where} says")
    for each in missing:
        imports.load(each.name, None if changed[each.name] else each.files)


def _readable(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {"name", "files"}:
        return False
    name, files = entry["name"], entry["files"]
    texts = isinstance(name, str) and name and isinstance(files, dict)
    return bool(texts) and all(isinstance(text, str) for pair in files.items() for text in pair)


def _match(record: Import) -> Import | None:
    """What this process has imported in the place of what a run did: of its name, or as it was."""
    known = imports.loaded()
    same = [each for each in known if each.name == record.name]
    same += [each for each in known if each.files and _sums(each) == _sums(record)]
    same += [each for each in known if Path(each.name).name == Path(record.name).name]
    return same[0] if same else None


def _run(record: Import) -> list[str]:
    """What an import would run: files of the user's, or a module with what that needs."""
    return sorted({record.name, *record.files}) if imports.is_file(record.name) else [record.name]


def _differ(before: Import, now: Import) -> list[str]:
    """The files of an import that are not as they were, wherever they lie."""
    if _sums(before) == _sums(now):
        return []
    known = set(before.files.values())
    return [path for path, found in now.files.items() if found not in known] or [now.name]


def _sums(record: Import) -> list[str]:
    return sorted(record.files.values())


def _shown(name: str) -> str:
    """A name from a file, which must not move the cursor."""
    return name if name.isprintable() else ascii(name)
