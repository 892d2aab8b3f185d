"""Text that a scanner's character set cannot show, and how it may be spelt instead.

Pure: no database, no network.
"""

from __future__ import annotations

import unicodedata

from worklist import character_set
from worklist.character_set import CharacterSet

_KEYBOARD = {
    "ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h",
    "ß": "ss", "ŋ": "n", "’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...",
}  # fmt: skip
_SPELT = str.maketrans(
    _KEYBOARD | {c.upper(): s.title() for c, s in _KEYBOARD.items() if len(c.upper()) == 1 != c}
)


def terms_of(configured: str) -> CharacterSet:
    """A station's character set as the terms that are sent: its values, a backslash between."""
    return tuple(configured.split("\\")) if configured else character_set.UNICODE


def missing(text: str, terms: CharacterSet, *, vr: str) -> tuple[str, ...]:
    """The characters of a text that this set lacks, each once, in their order."""
    if character_set.fits(text, terms, vr):
        return ()
    lacking = [c for c in text if not character_set.fits(c, terms, vr)]
    return tuple(dict.fromkeys(lacking or text))


def spelt(text: str, terms: CharacterSet, *, vr: str) -> str:
    """The text with what this set lacks spelt as on a keyboard; "" when even that does not fit."""
    made = "".join(
        c if character_set.fits(c, terms, vr) else _plain(c)
        for c in unicodedata.normalize("NFC", text)
    )
    return made if character_set.fits(made, terms, vr) else ""


def _plain(character: str) -> str:
    decomposed = unicodedata.normalize("NFKD", character.translate(_SPELT))
    return "".join(c for c in decomposed if not unicodedata.combining(c))
