"""Fields for text that scanners receive: what is pasted is tidied, what cannot be sent is told.

The rules are those of the wire (values.check_text); the words are a clerk's.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from worklist import clock, values
from worklist.dates import FIRST_YEAR, LAST_YEAR, is_reasonable, parse_birth_date

# Zero-width characters and marks of direction: nobody sees them, and nothing matches them.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_CENTURY = dt.timedelta(days=36525)


def tidied(text: str, *, keeps_lines: bool = False) -> str:
    """What was pasted as it was meant: composed characters, no controls, nothing invisible."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    if keeps_lines:
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
        text = "".join(c for c in text if c == "\n" or unicodedata.category(c) != "Cc")
        return text.replace("\n", "\r\n").strip()
    text = re.sub(r"[\t\n\r\f\v\u2028\u2029]+", " ", text)
    return "".join(c for c in text if unicodedata.category(c) != "Cc").strip()


class DicomField(forms.CharField):
    """A text with the length and repertoire of its VR; `counts` shows how much room is left."""

    def __init__(self, vr: str, *, counts: bool = False, **options: Any) -> None:
        self.vr = vr
        super().__init__(**{"required": False, **options})
        # No maxlength: a browser would cut what is pasted, without a word.
        self.widget.attrs.setdefault("autocomplete", "off")
        if counts:
            self.widget.attrs["data-counts"] = values.MAX_LENGTH[vr]

    def to_python(self, value: Any) -> str:
        text = super().to_python(value) or ""
        return tidied(text, keeps_lines=self.vr in ("LT", "ST"))

    def run_validators(self, value: str) -> None:
        check(value, self.vr)


def check(text: str, vr: str) -> None:
    """Raise ValidationError, in a clerk's words, for a text that its VR does not allow."""
    if "\\" in text:
        raise ValidationError(_("Remove '\\': it separates values in DICOM."))
    limit = values.MAX_LENGTH[vr]
    if vr != "PN" and len(text) > limit:
        raise ValidationError(
            _("%(count)d characters; the limit is %(limit)d.")
            % {"count": len(text), "limit": limit}
        )
    try:
        values.check_text(text, vr)
    except ValueError as error:
        raise ValidationError(str(error)) from None


class PersonField(DicomField):
    """A person in one line, "House, Gregory" or as DICOM writes it; the answer is a PN value."""

    def __init__(self, **options: Any) -> None:
        super().__init__("PN", **options)

    def to_python(self, value: Any) -> str:
        text = super().to_python(value)
        if "^" in text:
            return text
        family, _comma, given = (part.strip() for part in text.partition(","))
        return "^".join(filter(None, (family, given)))

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str) and value.count("^") == 1:
            return ", ".join(value.split("^"))
        return value

    def run_validators(self, value: str) -> None:
        if "=" in value:
            raise ValidationError(_("Remove '=': it separates scripts in DICOM."))
        check(value, "PN")


class NamePartField(DicomField):
    """One part of a name: none of the signs that hold the parts apart."""

    def __init__(self, **options: Any) -> None:
        super().__init__("PN", **options)
        self.widget.attrs["spellcheck"] = "false"

    def run_validators(self, value: str) -> None:
        for sign in "^=\\":
            if sign in value:
                after = value.partition(sign)[2].strip(" ^=\\")
                raise ValidationError(
                    _(
                        "Remove '%(sign)s': it separates name parts in DICOM and would move "
                        "'%(part)s' into another field."
                    )
                    % {"sign": sign, "part": after or value}
                )


class PatientIDField(DicomField):
    """A patient ID: no wildcard of a query in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__("LO", **options)
        self.widget.attrs["spellcheck"] = "false"

    def run_validators(self, value: str) -> None:
        for sign in "*?":
            if sign in value:
                raise ValidationError(
                    _("The patient ID contains '%(sign)s', which scanners read as a wildcard.")
                    % {"sign": sign}
                )
        super().run_validators(value)


class BirthDateField(forms.CharField):
    """A date of birth in any usual form; the answer is a date, or None."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, **options})
        self.widget.attrs["autocomplete"] = "off"

    def to_python(self, value: Any) -> Any:
        text = tidied(super().to_python(value) or "")
        if not text:
            return None
        today = clock.today()
        born = parse_birth_date(text, today=today)
        if born is not None:
            return born
        # A date for other generations is told as what it is.
        if parse_birth_date(text, today=today + _CENTURY):
            raise ValidationError(_("This date of birth is in the future."))
        if parse_birth_date(text, today=today - _CENTURY):
            raise ValidationError(_("This date of birth is more than 130 years ago."))
        raise ValidationError(
            _("'%(text)s' is not a date of birth. Write it as 12 Apr 1979 or 12.4.1979.")
            % {"text": text}
        )

    def run_validators(self, value: Any) -> None:
        pass


class DayField(forms.DateField):
    """A day of the calendar, in a year that a worklist can have."""

    def __init__(self, **options: Any) -> None:
        widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
        super().__init__(**{"widget": widget, **options})

    def validate(self, value: Any) -> None:
        super().validate(value)
        if value and not is_reasonable(value):
            told = {"first": FIRST_YEAR, "last": LAST_YEAR}
            raise ValidationError(_("Enter a year from %(first)d to %(last)d.") % told)


class TimeOfDayField(forms.CharField):
    """A time of 24 hours as people type it: 11:30, 11.30, 1130, 9."""

    _TIME = re.compile(r"(\d{1,2})(?:[:.h ]?(\d{2}))?", re.ASCII)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.widget.attrs.update({"autocomplete": "off", "inputmode": "numeric", "size": 5})

    def to_python(self, value: Any) -> Any:
        if isinstance(value, dt.time):
            return value
        text = super().to_python(value)
        if not text:
            return None
        match = self._TIME.fullmatch(text)
        try:
            if match:
                return dt.time(int(match[1]), int(match[2] or 0))
        except ValueError:
            pass
        raise ValidationError(_("'%(text)s' is not a time. Write it as 14:30.") % {"text": text})

    def prepare_value(self, value: Any) -> Any:
        return f"{value:%H:%M}" if isinstance(value, dt.time) else value

    def run_validators(self, value: Any) -> None:
        pass


def multiple_lines(text: str) -> str:
    """Lines as a multi-valued column: one value a line."""
    return values.join([line.strip() for line in text.splitlines() if line.strip()])
