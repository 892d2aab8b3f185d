"""What peers write into an A-ASSOCIATE-RQ (PS3.8 9.3.2), such that the library reads it.

Consoles pad an AE title with NUL, and the name of their implementation is as long as somebody
liked. The library aborts such a request without a word: nobody would learn who called. Pure.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_CALLED, _CALLING, _ITEMS = slice(10, 26), slice(26, 42), 74
_USER_INFORMATION, _VERSION_NAME = 0x50, 0x55
_LONGEST = 16


@dataclass(frozen=True)
class Titles:
    """The AE titles of a request as they came, without the padding."""

    calling: str = ""
    called: str = ""


def readable(pdu: bytes) -> tuple[bytes, Titles]:
    """The request with a "?" for each character that no AE title may have, and its own titles."""
    # What stands behind a NUL is what was in the console's memory before.
    calling, called = (pdu[part].partition(b"\0")[0].strip() for part in (_CALLING, _CALLED))
    items = b"".join(
        _item(kind, _user_information(content) if kind == _USER_INFORMATION else content)
        for kind, content in _items(pdu[_ITEMS:])
    )
    fixed = pdu[6:10] + _spelled(called) + _spelled(calling) + pdu[42:_ITEMS]
    head = pdu[:2] + struct.pack(">L", len(fixed) + len(items))
    # Each byte is a character of its own: what is none of ASCII is no title that is set up.
    return head + fixed + items, Titles(calling.decode("latin-1"), called.decode("latin-1"))


def _spelled(title: bytes) -> bytes:
    """An AE title field that the library takes: it wants one character at least."""
    return (_legal(title) or b"?").ljust(_LONGEST)


def _legal(text: bytes) -> bytes:
    return bytes(one if 0x20 <= one < 0x7F and one != 0x5C else 0x3F for one in text)


def _user_information(content: bytes) -> bytes:
    return b"".join(
        _item(kind, _legal(inner.rstrip(b"\0 "))[:_LONGEST] if kind == _VERSION_NAME else inner)
        for kind, inner in _items(content)
    )


def _items(content: bytes) -> list[tuple[int, bytes]]:
    """Type and content of each item. Raises ValueError where they do not add up."""
    found = []
    while content:
        if len(content) < 4:
            raise ValueError("an item without its length")
        kind, length = struct.unpack(">BxH", content[:4])
        if len(content) < 4 + length:
            raise ValueError("an item that ends too soon")
        found.append((kind, content[4 : 4 + length]))
        content = content[4 + length :]
    return found


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content
