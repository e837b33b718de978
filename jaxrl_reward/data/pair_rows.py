"""Pairs as people have them: rows of text, JSON lines or parquet, as TRL reads and writes them.

Kinds of rows, told by their fields: `prompt`, `chosen`, `rejected`; `chosen` and `rejected`,
which then begin with the prompt; `prompt`, `completion` and a `label`, true or false. Texts
are strings or conversations, lists of `{"role": ..., "content": ...}`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl_reward.data import pairs
from jaxrl_reward.data.files import start_of
from jaxrl_reward.envs.sequence import END, Task
from jaxrl_reward.files import user_path
from jaxrl_reward.types import UserError

SUFFIXES = (".jsonl", ".json", ".parquet")
NAMED = 5  # wrong rows that a message names


class _Row(NamedTuple):
    """A prompt and its responses, None where one is missing."""

    prompt: np.ndarray
    chosen: np.ndarray | None
    rejected: np.ndarray | None


class _RowError(Exception):
    """Why a row is none."""


def read(path: Path | str, task: Task, environment: str = "") -> pairs.PairSet:
    """The pairs in a file: `.npz` of ours, `.jsonl` or `.parquet` with texts.

    Texts are cut into the task's symbols; a response that does not end is ended. Texts
    without a prompt of their own begin with the task's number of prompt tokens.

    Args:
      path: the file.
      task: whose tokens they are.
      environment: its name, for the record.

    Raises:
      UserError: there is no such file, it is damaged, or rows are wrong: the line names
        them, by numbers from 0, and says why.
    """
    path = user_path(path)
    if path.suffix == ".npz":
        found = pairs.load(path)
        _check_fits(found, task, str(path))
        return found
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} must end in .npz, {', '.join(SUFFIXES[:1])} or .parquet")
    rows, wrong, given = [], [], {"strength": [], "user": [], "reward": []}
    reader = _Reader(task)
    for number, row in enumerate(_rows(path)):
        try:
            found = reader.read(row), *(_further(row, name) for name in given)
            for values, value in zip((rows, *given.values()), found, strict=True):
                values.append(value)
        except _RowError as error:
            wrong.append((number, str(error)))
    if wrong:
        first = "; ".join(f"row {number}: {why}" for number, why in wrong[:NAMED])
        more = f"; and {len(wrong) - NAMED} more" * (len(wrong) > NAMED)
        raise UserError(
            f"{path}: {len(wrong)} of {len(rows) + len(wrong)} rows are wrong: {first}{more}"
        )
    if not rows:
        raise UserError(f"{path} has no rows")
    nothing = np.full(task.max_tokens, task.vocabulary, np.int32)
    fill = lambda x: nothing if x is None else x  # noqa: E731
    return pairs.make(
        [row.prompt for row in rows],
        [fill(row.chosen) for row in rows],
        [fill(row.rejected) for row in rows],
        there=[[row.chosen is not None, row.rejected is not None] for row in rows],
        origin=pairs.PairOrigin(environment=environment, source=path.name),
        **given,
    )


def _check_fits(found: pairs.PairSet, task: Task, where: str) -> None:
    shape = (found.prompt.shape[1], found.chosen.shape[1])
    wanted = (task.prompt_length, task.max_tokens)
    if shape != wanted:
        raise UserError(
            f"{where}: prompts and responses of {shape[0]} and {shape[1]} tokens, where the task "
            f"has {wanted[0]} and {wanted[1]}"
        )
    most = max(int(np.asarray(x).max()) for x in (found.prompt, found.chosen, found.rejected))
    if most > task.vocabulary:
        raise UserError(f"{where}: token {most} is none of the task's {task.vocabulary}")


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a file as mappings."""
    start_of(path)  # is there one?
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            yield from pyarrow.parquet.read_table(path).to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            line = " ".join(str(error).split())
            raise UserError(f"{path} cannot be read as parquet: {line}") from None
        return
    try:
        text = path.read_text(encoding="utf-8")
        lines = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(lines, list):
        raise UserError(f"{path} must hold a list of rows")
    for line in lines:
        if isinstance(line, str) and not line.strip():
            continue
        try:
            yield json.loads(line) if isinstance(line, str) else line
        except (ValueError, RecursionError):
            yield {"": "no JSON"}


def _further(row: Mapping[str, Any], name: str) -> Any:
    """A number that a row may have besides."""
    if name == "reward":
        scores = row.get("score_chosen"), row.get("score_rejected")
        return [_number("score", 0.0 if score is None else score) for score in scores]
    if name == "user":
        user = row.get("user", 0)
        if not isinstance(user, int) or isinstance(user, bool) or not 0 <= user < 2**31:
            raise _RowError(f"user must be a whole number, not {user!r}")
        return user
    return _number(name, row.get(name, 1.0))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise _RowError(f"{name} must be a number, not {value!r}")
    return float(value)


class _Reader:
    """Reads rows into tokens of a task."""

    def __init__(self, task: Task):
        self.task = task
        self.symbols = {symbol: i for i, symbol in enumerate(task.symbols)}
        if len(self.symbols) < len(task.symbols):
            raise UserError("the task has two tokens of one symbol, and texts cannot be read")
        self.widest = max(map(len, task.symbols))

    def read(self, row: Any) -> _Row:
        """One row."""
        if not isinstance(row, Mapping):
            raise _RowError("it is no JSON object")
        if "" in row:
            raise _RowError("it is no JSON")
        if "completion" in row:
            return self.unpaired(row)
        for name in ("chosen", "rejected"):
            if name not in row:
                known = "prompt, chosen, rejected or prompt, completion, label"
                raise _RowError(f"it has no {name}; rows have {known}")
        chosen, rejected = row["chosen"], row["rejected"]
        if is_talk(chosen) != is_talk(rejected):
            raise _RowError("one response is a conversation and the other a text")
        prompt = row.get("prompt")
        if is_talk(chosen):
            if not is_talk(prompt):  # a string beside conversations repeats what they begin with
                shared = _shared(chosen, rejected)
                prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
            texts = [_said(each) for each in (prompt, chosen, rejected)]
        elif prompt is None:
            return self.implicit(_text(chosen, "chosen"), _text(rejected, "rejected"))
        else:
            texts = [_text(prompt, "prompt"), _text(chosen, "chosen"), _text(rejected, "rejected")]
        prompt_tokens = self.prompt(texts[0])
        return _Row(prompt_tokens, *(self.response(each) for each in texts[1:]))

    def unpaired(self, row: Mapping[str, Any]) -> _Row:
        """A response by itself, and whether it is good."""
        if "prompt" not in row or not isinstance(row.get("label"), bool | np.bool_):
            raise _RowError("a completion needs a prompt, and a label, true or false")
        prompt, text = row["prompt"], row["completion"]
        texts = [_said(x) if is_talk(x) else _text(x, "text") for x in (prompt, text)]
        tokens = self.response(texts[1])
        sides = (tokens, None) if row["label"] else (None, tokens)
        return _Row(self.prompt(texts[0]), *sides)

    def implicit(self, chosen: str, rejected: str) -> _Row:
        """Whole texts, whose first tokens are the prompt, as many as the task's prompts have."""
        length = self.task.prompt_length
        both = [self.tokens(each) for each in (chosen, rejected)]
        if both[0][:length] != both[1][:length] or len(both[0]) < length:
            raise _RowError(f"chosen and rejected do not begin with one prompt of {length} tokens")
        prompt = np.asarray(both[0][:length], np.int32)
        return _Row(prompt, *(self.ended(each[length:]) for each in both))

    def prompt(self, text: str) -> np.ndarray:
        """A prompt's tokens, with nothing on the left where it is short."""
        tokens, length = self.tokens(text), self.task.prompt_length
        if len(tokens) > length:
            raise _RowError(f"its prompt has {len(tokens)} tokens, and the task's have {length}")
        room = [self.task.vocabulary] * (length - len(tokens))
        return np.asarray(room + tokens, np.int32)

    def response(self, text: str) -> np.ndarray:
        """A response's tokens, ended, with nothing behind."""
        return self.ended(self.tokens(text))

    def ended(self, tokens: list[int]) -> np.ndarray:
        if END in tokens[:-1]:
            raise _RowError("a response goes on behind its end")
        tokens = tokens if tokens and tokens[-1] == END else [*tokens, END]
        if len(tokens) > self.task.max_tokens:
            raise _RowError(
                f"a response has {len(tokens)} tokens, and at most {self.task.max_tokens} fit"
            )
        room = [self.task.vocabulary] * (self.task.max_tokens - len(tokens))
        return np.asarray(tokens + room, np.int32)

    def tokens(self, text: str) -> list[int]:
        """The numbers of the symbols of a text; of several that fit the longest."""
        found, at = [], 0
        while at < len(text):
            for width in range(min(self.widest, len(text) - at), 0, -1):
                if (number := self.symbols.get(text[at : at + width])) is not None:
                    found.append(number)
                    at += width
                    break
            else:
                raise _RowError(f"{text[at]!r} is no symbol of the task")
        return found


def is_talk(value: Any) -> bool:
    """Whether it is a conversation: a list of messages with a role."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and isinstance(value[0], Mapping)
        and "role" in value[0]
    )


def _shared(first: Sequence[Any], second: Sequence[Any]) -> int:
    """How many messages two conversations begin with alike, the last one of either left out."""
    most = min(len(first), len(second)) - 1
    return next((i for i in range(most) if first[i] != second[i]), most)


def _said(talk: Any) -> str:
    """The words of a conversation, one message behind the other."""
    if isinstance(talk, str):
        return talk
    parts: list[str] = []
    for each in talk:
        content = each.get("content") if isinstance(each, Mapping) else None
        if not isinstance(content, str):
            raise _RowError("a message has no content that is a text")
        parts.append(content)
    return "".join(parts)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _RowError(f"{name} must be a text, not {type(value).__name__}")
    return value
