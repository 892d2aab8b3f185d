"""The web while its database is away, hangs, is full, locked or not set up: 503, soon, and back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import count

import pytest

from benchmarks.web.browser import Answer, Browser
from tests.faults.databases import Postgres, Sqlite
from tests.faults.outages import (
    Fault,
    frozen,
    killed,
    locked,
    not_migrated,
    out_of_connections,
    stopped,
    written_by_another,
)
from tests.faults.site import Site, open_site
from tests.pages import fields
from tests.waiting import until

ANSWERED_WITHIN, BACK_WITHIN = 5.0, 2.0

_turns = count(1)

Form = list[tuple[str, str]]


@pytest.fixture(scope="module")
def postgres_site() -> Iterator[Site]:
    with open_site(Postgres()) as site:
        yield site


@pytest.fixture(scope="module")
def sqlite_site() -> Iterator[Site]:
    with open_site(Sqlite()) as site:
        yield site


def get(browser: Browser, path: str = "/today/") -> tuple[Answer, float]:
    """The answer, and how long it took."""
    before = time.monotonic()
    return browser.get(path), time.monotonic() - before


def post(browser: Browser, path: str, form: Form) -> tuple[Answer, float]:
    before = time.monotonic()
    return browser.post(path, form), time.monotonic() - before


def typed(browser: Browser, name: str) -> Form:
    """A booking as it is about to be sent."""
    page = browser.get("/exams/new/").text
    for button in ({"choose_patient": "new"}, {"choose_exam": "p1"}):
        answer = browser.post("/exams/new/", list({**fields(page), **button}.items()))
        page = answer.text
    turn = next(_turns)
    said = {"family": name, "given": "Jo", "patient_id": name, "sex": "M", "act": "save"}
    more = {"born": f"{1930 + turn}-02-03", "0-day": f"2031-03-{turn:02}"}
    return list({**fields(page), **said, **more, "0-time": "09:00"}.items())


def count_of(site: Site, name: str) -> int:
    with site.database.connect() as connection:
        (found,) = connection.execute(
            "SELECT count(*) FROM worklist_patient p"
            " JOIN worklist_imagingservicerequest i ON i.patient_id = p.id"
            f" WHERE p.patient_id = '{name}'"
        ).fetchone()
    return int(found)


def ask_in(site: Site, fault: Fault, name: str) -> None:
    browsers = [site.clerk() for _ in range(3)]
    browser = browsers[0]
    booking = typed(browser, name)
    with fault(site.database):
        # SQLite can be read while somebody writes.
        for each in [*browsers, browser] if site.database.is_postgres else ():
            answer, seconds = get(each)
            assert (answer.status, seconds < ANSWERED_WITHIN) == (503, True), seconds
            assert answer.headers["Refresh"] == answer.headers["Retry-After"] == "5"
            assert "tries again by itself" in answer.text
        answer, seconds = post(browser, "/exams/new/", booking)
        assert (answer.status, seconds < ANSWERED_WITHIN) == (503, True), seconds
        assert "Refresh" not in answer.headers, "a form that is asked for again would be empty"
        assert get(site.browser(), "/healthz")[0].status == 200
    before = time.monotonic()
    until(lambda: get(browser)[0].status == 200, what="the board")
    assert time.monotonic() - before < BACK_WITHIN
    # What was typed is on the page, to be sent once more.
    (form,) = re.findall(r"<form.*?</form>", answer.text, re.S)
    sent = fields(form.replace("<form", '<form id="kept"'), "kept")
    again, _ = post(browser, "/exams/new/", list(sent.items()))
    assert again.status == 302, again.text
    assert count_of(site, name) == 1
    assert [get(each)[0].status for each in browsers] == [200] * 3


@pytest.mark.parametrize(
    "fault", [stopped, killed, frozen, out_of_connections, locked, not_migrated]
)
def test_postgres_is_away(postgres_site: Site, fault: Fault) -> None:
    ask_in(postgres_site, fault, fault.__name__.title().replace("_", "")[:16])


def test_sqlite_is_locked(sqlite_site: Site) -> None:
    ask_in(sqlite_site, written_by_another, "Locked")


def test_a_password_is_on_no_page_that_keeps_a_form(postgres_site: Site) -> None:
    assert isinstance(postgres_site.database, Postgres)
    browser = postgres_site.clerk()
    secret = "never-shown-77"
    page = fields(browser.get("/password/").text.replace("<form", '<form id="x"'), "x")
    form = [*page.items(), ("old_password", secret), ("new_password1", secret)]
    without = [(name, value) for name, value in form if name != "csrfmiddlewaretoken"]
    assert secret not in post(browser, "/password/", without)[0].text
    with frozen(postgres_site.database):
        answer, _ = post(browser, "/password/", form)
    assert answer.status == 503
    assert secret not in answer.text
    assert "go back and send it again" in answer.text


def test_commands_are_in_no_hurry(postgres_site: Site) -> None:
    """Nor does anything bound what they take: migrations and imports wait for a lock."""
    from worklist import deadline

    assert deadline.left() is None
    shown = postgres_site.manage(
        "shell",
        "-c",
        "from django.db import connection as c; u = c.cursor();"
        "u.execute('SHOW statement_timeout'); print(u.fetchone());"
        "u.execute('SHOW synchronous_commit'); print(u.fetchone())",
    )
    assert "('0',)" in shown.stdout
    assert "('on',)" in shown.stdout
