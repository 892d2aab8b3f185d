from __future__ import annotations

import datetime as dt

import pytest

from worklist import dates

TODAY = dt.date(2026, 11, 22)


@pytest.mark.parametrize(
    "text",
    [
        "1979-04-12",
        "1979/4/12",
        "12.4.79",
        "12.04.1979",
        "12. 4. 1979",
        "12/04/1979",
        "12-4-79",
        "12 Apr 1979",
        "12. April 1979",
        "12-APR-1979",
        "12th april 79",
        "Apr 12, 1979",
        "19790412",
        "12041979",
        "120479",
        " 12.4.79 ",
    ],
)
def test_a_date_of_birth_is_read_in_any_usual_form(text: str) -> None:
    assert dates.parse_birth_date(text, today=TODAY) == dt.date(1979, 4, 12)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("4.12.79", dt.date(1979, 12, 4)),
        ("04/13/1979", dt.date(1979, 4, 13)),
        ("3 März 1950", dt.date(1950, 3, 3)),
        ("3 Mrz 50", dt.date(1950, 3, 3)),
        ("12 okt. 1950", dt.date(1950, 10, 12)),
        ("29.2.2024", dt.date(2024, 2, 29)),
        ("22.11.26", dt.date(2026, 11, 22)),
        ("23.11.26", dt.date(1926, 11, 23)),
        ("1.1.00", dt.date(2000, 1, 1)),
    ],
)
def test_day_first_and_the_latest_year_that_has_been(text: str, date: dt.date) -> None:
    assert dates.parse_birth_date(text, today=TODAY) == date


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rossi",
        "31.11.1979",
        "29.2.2023",
        "13/13/1979",
        "23.11.2026",
        "1.1.1850",
        "12.4",
        "12 Foo 1979",
        "Mara 12 1979",
        "P19790412",
        "A261122008",
        "10.1.2.31",
        "12.4.79 rossi",
        "1979-04-12-3",
    ],
)
def test_what_is_no_date_of_birth_is_none(text: str) -> None:
    assert dates.parse_birth_date(text, today=TODAY) is None


@pytest.mark.parametrize(
    ("text", "rest", "date"),
    [
        ("rossi, paolo 9.9.48", "rossi, paolo", dt.date(1948, 9, 9)),
        ("9 Sep 1948 rossi", "rossi", dt.date(1948, 9, 9)),
        ("rossi 1948-09-09 ct", "rossi ct", dt.date(1948, 9, 9)),
        ("rossi 31.2.1948", "rossi 31.2.1948", None),
    ],
)
def test_a_date_of_birth_is_found_among_other_words(
    text: str, rest: str, date: dt.date | None
) -> None:
    assert dates.split_birth_date(text, today=TODAY) == (rest, date)
