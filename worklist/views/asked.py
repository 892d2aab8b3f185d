"""What a request's parameters say, as far as there can be anything of that number."""

from __future__ import annotations

from collections.abc import Mapping

# A database's keys have 64 bits.
_DIGITS = 18


def number(parameters: Mapping[str, str], name: str) -> int:
    """The whole number of this parameter; 0, which no row has, when it is none."""
    text = parameters.get(name, "")
    return int(text) if is_number(text) else 0


def is_number(text: str) -> bool:
    """Whether this can be the key of a row."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS
