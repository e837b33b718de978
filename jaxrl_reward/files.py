"""Files of the user: the paths they give, the texts they bring, and how a file is replaced."""

import codecs
import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from jaxrl_reward.errors import UserError

PARTIAL = ".partial-"  # the prefix of what is still being written

# The marks that editors and shells of Windows put before a text.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def user_path(path: "Path | str | os.PathLike[str]") -> Path:
    """A path as a user gives it, with `~` and `~NAME` as a shell reads them.

    What it gives may be given to it again: a folder that is called `~` is `./~`.

    Raises:
      UserError: it is empty or no path, or there is no such user.
    """
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise UserError(f"a path must be a text that is not empty, not {text!r}")
    if text.startswith("~"):
        text = os.path.expanduser(text)
        if text.startswith("~"):
            name = text.partition("/")[0]
            raise UserError(f"{text}: there is no user {name[1:]!r}; for a folder write ./{name}")
    found = Path(text)
    return found.absolute() if found.parts[:1] and found.parts[0].startswith("~") else found


def read_text(path: Path) -> str:
    """A text of the user's: UTF-8, or what the mark at its beginning says.

    Raises:
      OSError: it cannot be read.
      UnicodeDecodeError: it is no text.
    """
    content = path.read_bytes()
    codec = (codec for mark, codec in _MARKS.items() if content.startswith(mark))
    return content.decode(next(codec, "utf-8"))


def is_full(error: BaseException) -> bool:
    """Whether it says that a disk, or what one may use of it, is full.

    Libraries that write by themselves say so in their own words, as tensorstore does.
    """
    found = re.search(r"os_error_code='(\d+)'", str(error))
    number = int(found[1]) if found else getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what is to be at `path`: it is there when the body is over, all at once.

    Until then, and if the body fails, what was there before is left. Where the path is a
    link, the file that it leads to is replaced.

    Raises:
      UserError: it is a folder or a device.
    """
    final = Path(os.path.realpath(path))
    if final.exists() and not final.is_file():
        raise UserError(f"{path} is no file that can be replaced; choose another path")
    partial = final.with_name(f"{PARTIAL}{os.getpid()}-{final.name}")
    try:
        yield partial
        os.replace(partial, final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(final.parent)


def write_atomic(path: Path, content: bytes) -> None:
    """Replaces the file at once, and lastingly."""
    with replacing(path) as partial, open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Makes a rename in this folder survive a power cut, where that is offered."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
