"""TFRecord files of `tf.train.Example`s, read without TensorFlow.

A record is a length (8 bytes), its check (4), the message and the message's check (4). The
message's own check is not computed: it would take longer than everything else.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.types import UserError

_POLYNOMIAL = 0x82F63B78  # of CRC-32C, reflected
_MASK = 0xA282EAD8
_KINDS = {1: "bytes", 2: "float", 3: "int64"}


def examples(path: Path) -> Iterator[dict[str, Any]]:
    """The features of each record by name: arrays of float32 or int64, or lists of bytes.

    Raises:
      UserError: the file cannot be read, or is damaged.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            while head := file.read(12):
                length = int.from_bytes(head[:8], "little")
                if len(head) < 12 or _checked(head[:8]) != int.from_bytes(head[8:], "little"):
                    raise ValueError("the length of a record does not fit its check")
                if length + 4 > size - file.tell():
                    raise ValueError("cut short")
                message = file.read(length)
                file.read(4)
                yield _example(memoryview(message))
    except (OSError, ValueError, IndexError, OverflowError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as TFRecord: {line}") from None


def _checked(data: bytes) -> int:
    """The masked CRC-32C of a few bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + _MASK) & 0xFFFFFFFF


def _example(message: memoryview) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, features in _fields(message):
        if number != 1:
            continue
        for inner, entry in _fields(features):
            if inner == 1:
                pair = dict(_fields(entry))
                found[bytes(pair[1]).decode() if 1 in pair else ""] = _feature(pair.get(2, b""))
    return found


def _feature(message: Any) -> Any:
    """The values of a feature."""
    for number, values in _fields(memoryview(message)):
        kind = _KINDS.get(number)
        if kind == "bytes":
            return [bytes(each) for key, each in _fields(values) if key == 1]
        if kind == "float":
            return np.concatenate(
                [np.frombuffer(each, "<f4") for key, each in _fields(values) if key == 1]
                or [np.zeros(0, np.float32)]
            )
        if kind == "int64":
            packed = [_varints(each) for key, each in _fields(values) if key == 1]
            return np.concatenate(packed or [np.zeros(0, np.int64)])
    return np.zeros(0, np.float32)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers of fields and their bytes; a whole number as its varint."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 2:
            length, at = _varint(message, at)
        elif kind == 0:
            _, end = _varint(message, at)
            length = end - at
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a message has a field of kind {kind}")
        if at + length > len(message):
            raise ValueError("a message is cut short")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a message has no end of a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varints(message: memoryview) -> np.ndarray:
    """Packed whole numbers."""
    raw = np.frombuffer(message, np.uint8)
    if not len(raw):
        return np.zeros(0, np.int64)
    last = raw < 0x80
    if not last[-1]:
        raise ValueError("a message has no end of a number")
    starts = np.append(0, np.flatnonzero(last)[:-1] + 1)
    place = np.arange(len(raw)) - np.repeat(starts, np.diff(np.append(starts, len(raw))))
    if place.max() > 9:
        raise ValueError("a message has a number of more than 64 bits")
    parts = (raw & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(parts, starts).astype(np.int64)
