"""Dates of birth as people type them: 1979-04-12, 12.4.79, 12/04/1979, 12 Apr 1979, 12041979.

Where day and month could be either, the day comes first. Pure: no database, no clock, no settings.
"""

from __future__ import annotations

import datetime as dt
import re

from worklist import values

_OLDEST = 130  # years
# The years of a worklist: what lies outside is a slip, and at the calendar's edges nothing adds up.
FIRST_YEAR, LAST_YEAR = 1900, 2199

# Each month as values.search_words leaves it, in English and German; three letters are enough.
_MONTHS = (
    "january januar janner",
    "february februar feber",
    "march marz maerz mrz",
    "april",
    "may mai",
    "june juni",
    "july juli",
    "august",
    "september",
    "october oktober",
    "november",
    "december dezember",
)

_NAME = r"[^\W\d_]{3,9}"
_FORMS = (
    # 1979-04-12, 1979/4/12, 1979.04.12
    r"(?P<y>\d{4})(?P<s>[-./])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})",
    # 12.4.79, 12/04/1979, 12-4-1979, 12. 4. 1979
    r"(?P<d>\d{1,2})(?P<s>[-./]) ?(?P<m>\d{1,2})(?P=s) ?(?P<y>\d{4}|\d\d)",
    # 12 Apr 1979, 12. April 79, 12-APR-1979
    rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[-. ]{{1,2}}(?P<name>{_NAME})"
    r"[-., ]{1,2}(?P<y>\d{4}|\d\d)",
    # April 12, 1979
    rf"(?P<name>{_NAME})\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y>\d{{4}}|\d\d)",
    # 19790412
    r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)",
    # 12041979, 120479
    r"(?P<d>\d\d)(?P<m>\d\d)(?P<y>\d{4}|\d\d)",
)
_PATTERNS = tuple(re.compile(rf"(?<![\w.]){form}(?!\w)", re.IGNORECASE) for form in _FORMS)


def is_reasonable(day: dt.date) -> bool:
    """Whether exams can be booked, or looked for, on this day."""
    return FIRST_YEAR <= day.year <= LAST_YEAR


def parse_day(text: str) -> dt.date | None:
    """The day that an ISO date says, None when it says none, or none that is reasonable."""
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return day if is_reasonable(day) else None


def parse_birth_date(text: str, *, today: dt.date) -> dt.date | None:
    """The date of birth that the whole text says, None when it says none.

    Of a year in two digits it is the latest that has been; nobody is older than 130 years.
    """
    rest, date = split_birth_date(text, today=today)
    return date if not rest else None


def split_birth_date(text: str, *, today: dt.date) -> tuple[str, dt.date | None]:
    """The text without the date of birth in it, and that date: "rossi 9.9.48" is rossi and one."""
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            date = _date(match, today)
            if date:
                rest = f"{text[: match.start()]} {text[match.end() :]}"
                return " ".join(rest.split()).strip(" ,;"), date
    return text.strip(), None


def _date(match: re.Match[str], today: dt.date) -> dt.date | None:
    parts = match.groupdict()
    day, year = int(parts["d"]), int(parts["y"])
    month = _month(parts["name"]) if parts.get("name") else int(parts["m"])
    orders = [(month, day)]
    if not parts.get("name") and match.start("d") < match.start("y"):
        # 04/13/1979: the month may stand first where no other reading is a date.
        orders.append((day, month))
    century = today.year // 100 * 100
    years = [year] if len(parts["y"]) == 4 else [century + year, century - 100 + year]
    for month, day in orders:
        for year in years:
            try:
                date = dt.date(year, month, day)
            except ValueError:
                continue
            if date <= today and today.year - date.year <= _OLDEST:
                return date
    return None


def _month(name: str) -> int:
    """The number of a month by its name or the first letters of it, 0 when it is none."""
    word = values.search_words(name)
    for number, spellings in enumerate(_MONTHS, 1):
        if any(spelling.startswith(word) for spelling in spellings.split()):
            return number
    return 0
