"""What this user has vouched for on this machine: a checksum with a key that nobody else has.

The key lies in the user's state folder, not beside what it vouches for: nothing that comes
from elsewhere can vouch for itself.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import warnings
from pathlib import Path
from typing import Any

_BYTES = 32


def sign(what: Any) -> str:
    """A text that says that this user has seen `what`, which is JSON; empty if none can be."""
    key = _key(create=True)
    return _keyed(key, what) if key else ""


def holds(what: Any, signature: Any) -> bool:
    """Whether `sign` gave this text to this user for `what`."""
    key = _key(create=False)
    if key is None or not isinstance(signature, str) or not signature.isascii():
        return False
    return hmac.compare_digest(_keyed(key, what), signature)


def key_file() -> Path:
    """Where the key lies."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "jaxrl-reward" / "key"


def _keyed(key: bytes, what: Any) -> str:
    content = json.dumps(what, sort_keys=True).encode()
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _key(create: bool) -> bytes | None:
    """The key, if it is this user's alone."""
    with contextlib.suppress(OSError, RuntimeError):  # no home, or one that cannot be written
        file = key_file()
        if create and not file.exists():
            _make(file)
        with open(file, "rb") as opened:
            found, key = os.fstat(opened.fileno()), opened.read()
        if os.name == "posix" and (
            found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o77
        ):
            warnings.warn(
                f"{file} can be read by others and vouches for nothing; remove it", stacklevel=3
            )
            return None
        return key if len(key) == _BYTES else None
    return None


def _make(file: Path) -> None:
    """Writes a new key; of two processes that do, one wins."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = file.with_name(f"key.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as opened:
            opened.write(secrets.token_bytes(_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(partial, file)
    finally:
        partial.unlink()
