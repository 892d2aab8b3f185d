"""Person names as people read them, and which of them are easily mixed up.

A PN value (PS3.5 6.2.1) comes in, words come out. Pure: no database, no network.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from worklist import values

_PARTS = 5  # family, given, middle, prefix, suffix


@dataclass(frozen=True)
class NameGroup:
    """One component group of a person name, its parts as they are written."""

    family: str = ""
    given: str = ""
    middle: str = ""
    prefix: str = ""
    suffix: str = ""

    def __str__(self) -> str:
        """The group as DICOM writes it, without empty parts at its end."""
        parts = (self.family, self.given, self.middle, self.prefix, self.suffix)
        return "^".join(parts).rstrip("^")

    @property
    def shown(self) -> str:
        """KOWALSKI, Anna M, Dr.: in capitals and first what one looks for."""
        given = " ".join(filter(None, (self.given, self.middle, self.suffix)))
        return ", ".join(filter(None, (_capitals(self.family), given, self.prefix)))


def _capitals(text: str) -> str:
    """In capitals; those of Greek carry no accent (tonos), a diaeresis alone."""
    capitals = text.upper()
    if any("GREEK" in unicodedata.name(letter, "") for letter in capitals):
        capitals = unicodedata.normalize("NFD", capitals).replace("\u0301", "")
    return unicodedata.normalize("NFC", capitals)


def groups(name: str) -> tuple[NameGroup, NameGroup, NameGroup]:
    """The alphabetic, ideographic and phonetic group of a PN value."""
    texts = [*name.split("="), "", ""][:3]
    made = []
    for text in texts:
        parts = [part.strip(" ") for part in text.split("^")]
        made.append(NameGroup(*(parts + [""] * _PARTS)[:_PARTS]))
    return made[0], made[1], made[2]


def join(alphabetic: NameGroup, ideographic: NameGroup, phonetic: NameGroup) -> str:
    """The PN value of these groups."""
    return "=".join(map(str, (alphabetic, ideographic, phonetic))).rstrip("=")


def shown(name: str) -> tuple[str, ...]:
    """A name's groups for the screens: KOWALSKI, Anna M, then the other scripts, 山田 太郎."""
    alphabetic, ideographic, phonetic = groups(name)
    others = [
        " ".join(filter(None, (group.family, group.given, group.middle)))
        for group in (ideographic, phonetic)
    ]
    return tuple(filter(None, (alphabetic.shown, *others)))


def text(name: str) -> str:
    """The name in one line of plain text: YAMADA, Tarou · 山田 太郎 · やまだ たろう."""
    return " · ".join(shown(name))


def similarity_key(name: str) -> tuple[str, str]:
    """Two patients with one key carry names that are easily mixed up on the same day.

    The words of family and given name without accents and case, whichever stands first, the given
    name down to its first two letters: Rossi Paolo and Rossi Paola, Anna Maria and Maria Anna.
    """
    alphabetic, ideographic, _ = groups(name)
    group = alphabetic if alphabetic.family or alphabetic.given else ideographic
    family, given = (values.search_words(part) for part in (group.family, group.given))
    one, other = sorted((family, given[:2]))
    return one, other
