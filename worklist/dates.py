"""Dates of birth as people type them. No database, no network."""

from __future__ import annotations

import datetime as dt
import re

from worklist import clock, values

# After folding accents and case: 12 März 1979 and 12 Dez 1979 as well as English months.
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "mae": 3, "mrz": 3, "apr": 4, "may": 5, "mai": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "okt": 10, "nov": 11, "dec": 12, "dez": 12,
}  # fmt: skip
_EARLIEST_YEAR = 1850

_SEPARATOR = r"[-./ ]+"
_YEAR_FIRST = re.compile(rf"(\d{{4}}){_SEPARATOR}(\d\d?){_SEPARATOR}(\d\d?)", re.ASCII)
_DAY_FIRST = re.compile(
    rf"(\d\d?){_SEPARATOR}(\d\d?|[a-z]{{3,9}}){_SEPARATOR}(\d{{4}}|\d\d)", re.ASCII
)
_DIGITS = re.compile(r"\d{8}", re.ASCII)


def parse_birth_date(text: str) -> dt.date | None:
    """The date that someone means by 1979-04-12, 12.4.79, 12/04/1979, 12 Apr 1979 or 19790412.

    The day stands before the month. A year of two digits is the latest that has been. None when it
    is not a date.
    """
    text = values.search_words(text)
    if _DIGITS.fullmatch(text):
        return _date(text[:4], text[4:6], text[6:]) or _date(text[4:], text[2:4], text[:2])
    if match := _YEAR_FIRST.fullmatch(text):
        return _date(*match.groups())
    if match := _DAY_FIRST.fullmatch(text):
        day, month, year = match.groups()
        return _date(year, month, day)
    return None


def _date(year: str, month: str, day: str) -> dt.date | None:
    number = int(month) if month.isdigit() else _MONTHS.get(month[:3], 0)
    today = clock.today()
    if len(year) == 4:
        if int(year) < _EARLIEST_YEAR:
            return None
        return _valid(int(year), number, int(day))
    century = today.year // 100 * 100
    made = _valid(century + int(year), number, int(day))
    if made is None or made > today:
        made = _valid(century - 100 + int(year), number, int(day))
    return made


def _valid(year: int, month: int, day: int) -> dt.date | None:
    try:
        return dt.date(year, month, day)
    except ValueError:
        return None
