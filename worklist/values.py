"""DICOM text to Python and back, by Value Representation (PS3.5 6.2), and the rules of text.

The only place that spells a DA, TM, PN, CS or UI. Pure: no database, no network.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
from decimal import Decimal

Value = str | int | dt.date | dt.time

# PS3.5 Table 6.2-1: the number of characters a value may have; PN counts each component group.
MAX_LENGTH = {
    "AE": 16,
    "CS": 16,
    "DS": 16,
    "LO": 64,
    "LT": 10240,
    "PN": 64,
    "SH": 16,
    "ST": 1024,
    "UC": 1024,
    "UI": 64,
    "UR": 1024,
}
# One PN value: three component groups and the two "=" between them.
PN_VALUE_LENGTH = 3 * MAX_LENGTH["PN"] + 2

# The VRs that a model keeps as text, each value as it stands on the wire.
TEXT_VRS = frozenset({"AE", "CS", "DS", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UR"})

# PS3.5 6.1.3: the control characters that a VR allows; ESC is gone when text is decoded.
CONTROLS = dict.fromkeys(("LT", "ST", "UT"), frozenset("\t\n\f\r"))
# PS3.5 Table 6.2-1: spaces at their start are part of the value.
LEADING_SPACE_VRS = frozenset({"LT", "ST", "UC", "UR", "UT"})


def _(sentence: str) -> str:
    """Mark a sentence for the translators; whoever shows it to a person translates it."""
    return sentence


class TextError(ValueError):
    """What is wrong with a text, in one sentence: in English as it stands, for logs and reports.

    `sentence` is the same with named places for `details`, so that a form can translate it.
    """

    def __init__(self, sentence: str, **details: str | int) -> None:
        super().__init__(sentence % details)
        self.sentence = sentence
        self.details = details


_PRINTABLE_ASCII = re.compile(r"[\x20-\x5b\x5d-\x7e]*")
_CS = re.compile(r"[A-Z0-9 _]*")
_UI = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_DS = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# The dotted form is that of ACR-NEMA, which PS3.5 6.2 asks readers to accept.
_DA = re.compile(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})", re.ASCII)
_TM = re.compile(r"(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?", re.ASCII)
_TM_COLONS = re.compile(r"(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?", re.ASCII)


def check_text(text: str, vr: str) -> None:
    """Refuse a single text value that its VR does not allow.

    Raises TextError with one sentence that names the rule and the offending character.
    """
    for character in text:
        if character == "\\":
            raise TextError(_("a backslash separates values in DICOM and cannot be part of one"))
        category = unicodedata.category(character)
        if category == "Cc" and character not in CONTROLS.get(vr, ()):
            raise TextError(
                _("control character %(character)s is not allowed"),
                character=_code_point(character),
            )
        if category == "Cs" or ord(character) & 0xFFFE == 0xFFFE:
            raise TextError(_("%(character)s is not a character"), character=_code_point(character))
    if vr == "PN":
        _check_name(text)
    elif len(text) > MAX_LENGTH[vr]:
        raise TextError(
            _("%(length)d characters; the limit is %(limit)d"),
            length=len(text),
            limit=MAX_LENGTH[vr],
        )
    if not text:
        return
    if vr == "AE":
        _check_repertoire(
            text,
            _PRINTABLE_ASCII,
            _("%(text)s contains %(offender)s; an AE title has ASCII letters, digits and signs"),
        )
        if not text.strip():
            raise TextError(_("an AE title cannot be made of spaces alone"))
    elif vr == "CS":
        _check_repertoire(
            text,
            _CS,
            _(
                "%(text)s contains %(offender)s; a code string has capital letters, digits, "
                "space and _"
            ),
        )
    elif vr == "UI":
        if not _UI.fullmatch(text):
            raise TextError(
                _("%(text)s is not a UID: digits and dots, no leading zero in a component"),
                text=repr(text),
            )
    elif vr == "DS":
        parse_decimal(text)
    elif vr == "UR" and (not _PRINTABLE_ASCII.fullmatch(text) or text.startswith(" ")):
        raise TextError(_("%(text)s is not a URI"), text=repr(text))


def strip(text: str, vr: str) -> str:
    """The text without the spaces that are not significant, and without NUL padding.

    PS3.5 Table 6.2-1: those at the end, and at the start too but for long texts.
    """
    text = text.rstrip(" \0")
    return text if vr in LEADING_SPACE_VRS else text.lstrip(" ")


def has_control(text: str, vr: str) -> bool:
    """Whether a control character stands in the text that its VR does not allow (PS3.5 6.1.3)."""
    allowed = CONTROLS.get(vr, ())
    return any(unicodedata.category(one) == "Cc" and one not in allowed for one in text)


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X}"


def _check_repertoire(text: str, allowed: re.Pattern[str], sentence: str) -> None:
    if not allowed.fullmatch(text):
        offender = next(c for c in text if not allowed.fullmatch(c))
        raise TextError(sentence, text=repr(text), offender=repr(offender))


def _check_name(text: str) -> None:
    """PS3.5 6.2.1: at most three groups, five components each, 64 characters a group."""
    groups = text.split("=")
    if len(groups) > 3:
        raise TextError(
            _("%(count)d component groups; a person name has at most 3"), count=len(groups)
        )
    for group in groups:
        components = group.split("^")
        if len(components) > 5:
            raise TextError(
                _("%(count)d components; a person name has at most 5"), count=len(components)
            )
        if len(group) > MAX_LENGTH["PN"]:
            raise TextError(
                _("the name has %(length)d characters with its parts; the limit is %(limit)d"),
                length=len(group),
                limit=MAX_LENGTH["PN"],
            )


# --- dates, times, numbers ------------------------------------------------------------------------


def parse_date(text: str) -> dt.date:
    """Read a DA: YYYYMMDD or the older YYYY.MM.DD. Raises TextError."""
    match = _DA.fullmatch(text)
    if not match:
        raise TextError(_("not a date: %(text)s"), text=repr(text))
    year, month, day = (int(part) for part in match.groups() if part is not None)
    try:
        return dt.date(year, month, day)
    except ValueError:
        raise TextError(_("not a date: %(text)s"), text=repr(text)) from None


def parse_time(text: str, *, latest: bool = False) -> dt.time:
    """Read a TM: HH, HHMM, HHMMSS or HHMMSS.FFFFFF, or the older form with colons.

    Wall-clock time, no zone. What is not written is zero; with `latest` it is the last moment of
    the hour, minute or second that is named (an upper bound covers the whole of it).
    Raises TextError.
    """
    match = _TM.fullmatch(text) or _TM_COLONS.fullmatch(text)
    if not match:
        raise TextError(_("not a time: %(text)s"), text=repr(text))
    hour, minute, second, fraction = match.groups()
    if second == "60":  # PS3.5 6.2 allows a leap second; Python's time does not hold one
        second = "59"
    sixty, digit = ("59", "9") if latest else ("0", "0")
    try:
        return dt.time(
            int(hour),
            int(minute or sixty),
            int(second or sixty),
            int((fraction or "").ljust(6, digit)),
        )
    except ValueError:
        raise TextError(_("not a time: %(text)s"), text=repr(text)) from None


def parse_decimal(text: str) -> Decimal:
    """Read a DS. Raises TextError, also for a number past what programs hold (1e400)."""
    if not _DS.fullmatch(text):
        raise TextError(_("not a decimal number: %(text)s"), text=repr(text))
    if not math.isfinite(float(text)):
        raise TextError(_("not a number that can be held: %(text)s"), text=repr(text))
    return Decimal(text)


def parse(text: str, vr: str) -> Value:
    """Read one non-empty value of a stored VR from its DICOM text.

    Text VRs (DS too: its spelling is kept) come back as they are, without padding.
    Raises TextError with the rule that is broken.
    """
    text = strip(text, vr)
    if vr == "DA":
        return parse_date(text)
    if vr == "TM":
        return parse_time(text)
    if vr == "US":
        if not (text.isascii() and text.isdigit() and int(text) <= 0xFFFF):
            raise TextError(_("not a whole number from 0 to 65535: %(text)s"), text=repr(text))
        return int(text)
    check_text(text, vr)
    return text


def spell(value: Value) -> str:
    """Write one stored value as DICOM text: DA YYYYMMDD, TM HHMMSS and its fraction if any."""
    if isinstance(value, dt.date):
        return f"{value.year:04}{value.month:02}{value.day:02}"
    if isinstance(value, dt.time):
        text = f"{value.hour:02}{value.minute:02}{value.second:02}"
        return f"{text}.{value.microsecond:06}" if value.microsecond else text
    return str(value)


# --- person names ---------------------------------------------------------------------------------


def fold_name(name: str) -> str:
    """Answer the form in which two person names are compared (PS3.4 C.2.2.2.1.1).

    NFC, case-folded, no spaces around a component, no empty components at a group's end and no
    empty groups at the name's end. Accents stay: they tell people apart. A character stays one
    character, since a "?" in a key stands for one (C.2.2.2.4): ß is not folded to ss.
    """
    folded = "".join(map(_fold_character, unicodedata.normalize("NFC", name)))
    # A few letters compose in small that do not as capitals: ẖ.
    folded = unicodedata.normalize("NFC", folded)
    groups = [
        "^".join(component.strip(" ") for component in group.split("^")).rstrip("^")
        for group in folded.split("=")
    ]
    return "=".join(groups).rstrip("=")


def _fold_character(character: str) -> str:
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


def search_words(text: str) -> str:
    """Answer a text as people type it into a search box: no accents, no case, single spaces.

    Letters that Unicode does not decompose are spelt as on a keyboard without them (ł is l).
    """
    text = text.casefold().translate(_KEYBOARD)
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    plain = unicodedata.normalize("NFC", plain).casefold()
    return " ".join(re.split(r"[\s^=,;\\]+", plain)).strip()


def search_spellings(text: str) -> tuple[tuple[str, ...], ...]:
    """The words of a text, each in the ways in which it may be written without its umlauts.

    Müller is muller and mueller, Jørgen jorgen and joergen.
    """
    pairs = zip(search_words(text).split(), spelt_out(text).split(), strict=True)
    return tuple(tuple(dict.fromkeys(pair)) for pair in pairs)


def spelt_out(text: str) -> str:
    """The words as search_words answers them, but with umlauts in two letters: mueller."""
    composed = unicodedata.normalize("NFC", text).casefold()
    return search_words(composed.translate(_UMLAUTS))


def searched_by(text: str) -> str:
    """What a text is found by: its words as people type them, then their other spellings."""
    others = (other for word in search_spellings(text) for other in word[1:])
    return " ".join((search_words(text), *dict.fromkeys(others))).strip()


_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_KEYBOARD = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}
)


# --- several values in one column -----------------------------------------------------------------


def split(text: str) -> tuple[str, ...]:
    """The values of a multi-valued column, kept as on the wire with a backslash between them."""
    return tuple(text.split("\\")) if text else ()


def join(values: tuple[str, ...] | list[str]) -> str:
    """The column's text for these values, none of which holds a backslash."""
    return "\\".join(values)
