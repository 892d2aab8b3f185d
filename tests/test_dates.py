from __future__ import annotations

import datetime as dt

import pytest

from worklist import clock
from worklist.dates import parse_birth_date


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: dt.datetime(2026, 11, 23, 10, 42))


@pytest.mark.parametrize(
    "text",
    [
        "1979-04-12",
        "1979/4/12",
        "1979.04.12",
        "19790412",
        "12041979",
        "12.4.79",
        "12.04.1979",
        "12/04/1979",
        "12-4-1979",
        "12 4 79",
        "12 Apr 1979",
        "12. April 1979",
        "12-apr-79",
        "  12 APR 1979 ",
    ],
)
def test_usual_forms_name_the_twelfth_of_april(text: str) -> None:
    assert parse_birth_date(text) == dt.date(1979, 4, 12)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("1.3.26", dt.date(2026, 3, 1)),
        ("23.11.26", dt.date(2026, 11, 23)),
        ("24.11.26", dt.date(1926, 11, 24)),
        ("29.2.00", dt.date(2000, 2, 29)),
        ("1 März 1950", dt.date(1950, 3, 1)),
        ("1. Dez. 50", dt.date(1950, 12, 1)),
        ("3/2/1941", dt.date(1941, 2, 3)),
    ],
)
def test_two_digits_are_the_latest_year_that_has_been_and_the_day_comes_first(
    text: str, date: dt.date
) -> None:
    assert parse_birth_date(text) == date


@pytest.mark.parametrize(
    "text",
    ["", "rossi", "1979", "12.4", "31.2.1979", "12/13/1979", "12 Foo 1979", "P1001", "1.1.0001"],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_birth_date(text) is None
