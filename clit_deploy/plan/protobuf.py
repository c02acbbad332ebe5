"""A small reader of protocol buffers, so that a graph can be checked without onnx.

Format: https://protobuf.dev/programming-guides/encoding. The reader is stricter than protobuf. It
accepts only the fields of a schema, tags of at most two bytes and repeated numbers that are not
packed, so that no other reader can see something else in the same bytes.
"""

from __future__ import annotations

from typing import Any, Literal

Scalar = Literal["int", "text", "bytes", "float"]
Schema = dict[str, dict[int, str]]
"""For each kind of message, the fields by number: a `Scalar`, or the kind of the message inside.
Kinds must not contain themselves."""

Message = dict[int, list[Any]]
"""Values by field number: `int`, `str`, `memoryview` (bytes and floats) or `Message`."""

WIRE = {"int": 0, "float": 5}
"""Wire types of numbers; everything else has type 2."""

MAX_FIELDS = 500_000
"""Fields of one file. The largest graph that we write has 40,000."""


class Reader:
    """Reads one file.

    Args:
        schema: the fields to accept.
        refused: names for errors, by kind and number, of fields that are not in the schema.
    """

    def __init__(self, schema: Schema, refused: dict[tuple[str, int], str]) -> None:
        self._schema, self._refused = schema, refused
        self._left = MAX_FIELDS

    def read(self, kind: str, data: memoryview) -> Message:
        """Read a message.

        Raises:
            ValueError: the bytes are not such a message, or contain other fields.
        """
        found: Message = {}
        at, end, accepted = 0, len(data), self._schema[kind]
        while at < end:
            tag, at = _varint(data, at, 2)
            number = tag >> 3
            if number not in accepted:
                raise ValueError(self._refused.get((kind, number), f"field {number} of a {kind}"))
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {MAX_FIELDS} fields")
            what = accepted[number]
            if tag & 7 != WIRE.get(what, 2):
                raise ValueError(f"field {number} of a {kind} with wire type {tag & 7}")
            value, at = _value(data, at, what)
            inside = what in self._schema
            found.setdefault(number, []).append(self.read(what, value) if inside else value)
        return found


def _value(data: memoryview, at: int, what: str) -> tuple[Any, int]:
    if what == "int":
        return _varint(data, at, 10)
    length, start = (4, at) if what == "float" else _varint(data, at, 5)
    stop = start + length
    if stop > len(data):
        raise ValueError("a field that is cut off")
    value = data[start:stop]
    return _text(value) if what == "text" else value, stop


def _text(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise ValueError("text that is not UTF-8") from None


def _varint(data: memoryview, at: int, most: int) -> tuple[int, int]:
    """An unsigned number of at most `most` bytes, and where the next field starts."""
    value = 0
    for place in range(min(most, len(data) - at)):
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number that is cut off or too long")
