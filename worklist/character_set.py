"""Specific Character Set (0008,0005): bytes to text and back, without a lost or invented character.

pydicom holds the code tables. What it forgives is not forgiven here: it writes "?" for a character
that a set lacks, reads Latin-1 where only ASCII is declared, and leaves out the escape sequences of
ISO 2022 IR 58 (PS3.5 6.1.2.5, Annex K). Pure: no database, no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from pydicom.charset import (
    CODES_TO_ENCODINGS,
    ENCODINGS_TO_CODES,
    convert_encodings,
    python_encoding,
)

CharacterSet = tuple[str, ...]
"""The values of Specific Character Set; () is the default repertoire, ASCII."""

# PS3.5 6.1.2.3: what it governs; everything else is ASCII.
GOVERNED_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})

DEFAULT: CharacterSet = ()
UNICODE: CharacterSet = ("ISO_IR 192",)

_ASCII_TERMS = ("", "ISO_IR 6", "ISO 2022 IR 6")
# JIS X 0208 and 0212 take the place of ASCII in G0: it is called back before a delimiter.
_G0_ESCAPES = (b"\x1b$B", b"\x1b$(D")
_ASCII_ESCAPE = b"\x1b(B"
# GB 2312 and KS X 1001 stand beside ASCII, in G1.
_G1_MULTI_BYTE = ("iso_ir_58", "euc_kr")
_PN_DELIMITERS = frozenset(b"^=\\")
_TEXT_DELIMITERS = frozenset(b"\r\n\t\f\\")
# An escape sequence to the end of what it governs.
_RUN = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]+")
_ESCAPE = re.compile(rb"\x1b(?:\$?[()-].|\$.)")
_SEGMENT = re.compile(rb"\x1b[^\x1b]*|[^\x1b]+")


def read(value: bytes) -> CharacterSet:
    """The terms of an element's bytes. What is not ASCII makes an unknown term."""
    # The first term may be empty (ASCII); at the end an empty one says nothing.
    text = value.decode("ascii", "backslashreplace").rstrip(" \0\\")
    terms = tuple(term.strip(" \0") for term in text.split("\\"))
    return () if all(term in _ASCII_TERMS for term in terms) else terms


def is_supported(terms: CharacterSet) -> bool:
    """Whether every term is one of PS3.3 C.12.1.1.2 and they may stand together."""
    if any(term not in python_encoding for term in terms):
        return False
    # What no escape sequence calls stands alone; so do two misspellings that pydicom knows besides.
    return len(terms) < 2 or all(python_encoding[term] in ENCODINGS_TO_CODES for term in terms)


@lru_cache(maxsize=256)
def _codecs(terms: CharacterSet) -> tuple[str, ...]:
    return tuple(convert_encodings(list(terms))) if terms else ("ascii",)


def decode(value: bytes, terms: CharacterSet, vr: str = "LO") -> str:
    """The text of these bytes, backslashes between values included; padding stays.

    Bytes beyond ASCII without a declared set are read as UTF-8, which bytes of other sets hardly
    ever happen to be. Where ISO 2022 IR 58 or 149 is declared behind ASCII, bytes without an
    escape sequence, as pydicom writes them, are read in that set. Raises ValueError when the bytes
    are not text in this set.
    """
    if value.isascii() and b"\x1b" not in value and terms[:1] != ("ISO_IR 13",):
        return value.decode("ascii")
    if not is_supported(terms):
        raise ValueError("Specific Character Set is not supported")
    try:
        if b"\x1b" in value and terms:
            return _decode_extended(value, terms, vr)
        if not terms or terms[0] in _ASCII_TERMS:
            return _decode_undeclared(value, terms)
        return value.decode(_codecs(terms)[0])
    except UnicodeError:
        raise ValueError("not text in its Specific Character Set") from None


def _decode_undeclared(value: bytes, terms: CharacterSet) -> str:
    """Bytes beyond ASCII that no escape sequence announces, where the first set is ASCII."""
    extensions = [codec for codec in _codecs(terms)[1:] if codec in _G1_MULTI_BYTE]
    if len(extensions) == 1:
        try:
            return value.decode(extensions[0])
        except UnicodeError:
            pass
    return value.decode("utf-8")


def _decode_extended(value: bytes, terms: CharacterSet, vr: str) -> str:
    """ISO 2022 code extensions (PS3.5 6.1.2.5.3)."""
    delimiters = _PN_DELIMITERS if vr == "PN" else _TEXT_DELIMITERS
    first = g1 = "ascii" if terms[0] in _ASCII_TERMS else _codecs(terms)[0]
    text = []
    for segment in _SEGMENT.findall(value):
        escape = segment[: 4 if segment.startswith((b"\x1b$(", b"\x1b$)")) else 3]
        if not segment.startswith(b"\x1b"):
            text.append(segment.decode(first))
        elif escape == _ASCII_ESCAPE:
            # It calls ASCII back to G0; what was called to G1 stays there up to a delimiter.
            plain, g1 = _decode_segment(segment[3:], g1, first, delimiters)
            text.append(plain)
        elif CODES_TO_ENCODINGS.get(escape) not in _codecs(terms):
            raise ValueError("an escape sequence of a set that is not declared")
        elif escape in _G0_ESCAPES:
            text.append(segment.decode(CODES_TO_ENCODINGS[escape]))
        else:
            g1 = CODES_TO_ENCODINGS[escape]
            plain, g1 = _decode_segment(segment[len(escape) :], g1, first, delimiters)
            text.append(plain)
    return "".join(text)


def _decode_segment(
    segment: bytes, g1: str, first: str, delimiters: frozenset[int]
) -> tuple[str, str]:
    """The text, and the set that is in G1 behind it: a delimiter calls the first one back."""
    end = next((i for i, byte in enumerate(segment) if byte in delimiters), len(segment))
    text = segment[:end].decode(g1) + segment[end:].decode(first)
    return text, g1 if end == len(segment) else first


@lru_cache(maxsize=8192)
def encode(text: str, terms: CharacterSet, vr: str = "LO") -> bytes:
    """The bytes of this text in this set, with escape sequences where they are due.

    Raises ValueError when a character does not fit. What comes back decodes to the same text.
    """
    if text.isascii():
        return text.encode("ascii")
    if not terms or not is_supported(terms):
        raise ValueError("only ASCII fits")
    if vr == "PN":
        # Every component starts in the first set anew (PS3.5 6.2.1.1).
        encoded = b"".join(
            part.encode("ascii") if part in ("^", "=", "\\") else _encode_part(part, terms)
            for part in re.split(r"([\^=\\])", text)
            if part
        )
    elif len(terms) > 1:
        encoded = b"".join(
            part.encode("ascii") if part in "\r\n\t\f\\" else _encode_part(part, terms)
            for part in re.split(r"([\r\n\t\f\\])", text)
            if part
        )
    else:
        encoded = _encode_part(text, terms)
    if decode(encoded, terms, vr) != text:
        raise ValueError("the text does not come back from this set")
    return encoded


def _encode_part(text: str, terms: CharacterSet) -> bytes:
    """A text that no delimiter divides, in runs of one set each."""
    if len(terms) == 1:
        return _encode_plain(text, terms[0])
    encoded = b""
    # The first set is in G1 until another one is called there.
    in_g1 = terms[0]
    for run in _RUN.findall(text):
        if run.isascii():
            encoded += run.encode("ascii")
            continue
        for term, piece in _pieces(run, terms):
            plain, escape = _encode_plain(piece, term), ENCODINGS_TO_CODES[python_encoding[term]]
            if escape in _G0_ESCAPES:
                # Python's codec writes the escapes itself.
                encoded += plain.removesuffix(_ASCII_ESCAPE) + _back(terms[0])
            else:
                encoded += plain if term == in_g1 else escape + plain
                in_g1 = term
    return encoded


def _pieces(run: str, terms: CharacterSet) -> Iterator[tuple[str, str]]:
    """Letters beyond ASCII in the longest pieces that one set has, each with that set."""
    # pydicom's default repertoire is Latin-1: what stands for ASCII has none of them.
    sets = [term for term in terms if term not in _ASCII_TERMS]
    start = 0
    while start < len(run):
        ends = {term: _end(run, start, term) for term in sets}
        term = max(sets, key=lambda term: ends[term])  # the first of several as long
        if ends[term] == start:
            raise ValueError("a character is in none of the sets")
        yield term, run[start : ends[term]]
        start = ends[term]


def _end(run: str, start: int, term: str) -> int:
    return next((n for n in range(start, len(run)) if not _has(term, run[n])), len(run))


@lru_cache(maxsize=65536)
def _has(term: str, character: str) -> bool:
    """Whether one of the sets with code extensions has this letter."""
    try:
        encoded = _encode_plain(character, term)
    except ValueError:
        return False
    escape = ENCODINGS_TO_CODES[python_encoding[term]]
    # Python's codecs of the G0 sets have letters of other sets too.
    return escape not in _G0_ESCAPES or set(_ESCAPE.findall(encoded)) == {escape, _ASCII_ESCAPE}


def _back(first: str) -> bytes:
    """The escape that calls the first set back to G0 (PS3.5 H.3: JIS X 0201 has its own)."""
    return b"\x1b(J" if first == "ISO 2022 IR 13" else _ASCII_ESCAPE


def _encode_plain(text: str, term: str) -> bytes:
    """The text in one set, without an escape sequence."""
    encoded = text.encode(python_encoding[term])
    if python_encoding[term] == "shift_jis" and len(encoded) != len(text):
        # ISO_IR 13 is JIS X 0201: one byte a character.
        raise ValueError("a character is not in JIS X 0201")
    return encoded


@lru_cache(maxsize=8192)
def fits(text: str, terms: CharacterSet, vr: str = "LO") -> bool:
    """Whether every character of the text can be sent in this set."""
    if text.isascii():
        return True
    try:
        encode(text, terms, vr)
    except ValueError:
        return False
    return True
