"""A real Chromium on pages of a real server; what it complains about fails the test."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Group
from django.core.signals import request_finished, request_started
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests import tools
from tests.browser.looks import watch
from tests.cast import actor
from worklist import clock
from worklist.audit import trail
from worklist.models import User

MONDAY = dt.datetime(2026, 11, 23, 10, 42)
PASSWORD = "quiet-lake-19"

OpenPage = Callable[..., Page]


class _Requests:
    """Those that the server is at, whether anybody waits for them or not."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # A test's own client asks in the main thread; the server has a thread for each connection.
        self._at_it: set[threading.Thread] = set()
        request_started.connect(self._more)
        request_finished.connect(self._less)

    def _more(self, **_more: object) -> None:
        with self._changed:
            if threading.current_thread() is not threading.main_thread():
                self._at_it.add(threading.current_thread())

    def _less(self, **_more: object) -> None:
        with self._changed:
            self._at_it.discard(threading.current_thread())
            self._changed.notify_all()

    def over(self) -> None:
        """Wait until there is none: one that reads while the tables are emptied blocks that."""
        with self._changed:
            self._changed.wait_for(lambda: not any(map(threading.Thread.is_alive, self._at_it)), 20)
            self._at_it = {thread for thread in self._at_it if thread.is_alive()}


_REQUESTS = _Requests()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker(tools.needs("browser"))
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    tools.require("browser")
    # Playwright's loop runs in this thread, where Django's ORM would refuse to work.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=tools.chromium(),
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
            if os.geteuid() == 0
            else [],
        )
        yield started
        started.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[dt.datetime], None]:
    """Sets the site's clock; it stands at 10:42 on Monday, 23 November 2026."""

    def set_clock(moment: dt.datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)

    set_clock(MONDAY)
    return set_clock


@pytest.fixture
def open_page(
    browser: Browser, live_server: Any, now: Callable[[dt.datetime], None]
) -> Iterator[OpenPage]:
    """Opens the site in a window of its own, signed in with a role unless it is None.

    Keywords are those of Playwright's new_context (viewport, color_scheme, locale,
    java_script_enabled, …). At the end, no page has had an error of the console, of a script or of
    the Content Security Policy.
    """
    contexts: list[tuple[BrowserContext, list[str]]] = []

    def open_it(role: str | None = "Clerk", path: str = "/", **options: Any) -> Page:
        context = browser.new_context(
            **{"base_url": live_server.url, "locale": "en-GB", "timezone_id": "UTC", **options}
        )
        context.set_default_timeout(10_000)
        complaints: list[str] = []
        contexts.append((context, complaints))
        page = context.new_page()
        watch(page, complaints)
        if role is not None:
            context.add_cookies(signed_in(person(role), live_server.url))
        page.goto(path)
        return page

    yield open_it
    found = [complaint for _, complaints in contexts for complaint in complaints]
    for context, _ in contexts:
        context.close()
    _REQUESTS.over()
    assert found == []


def signed_in(account: User, url: str) -> list[Any]:
    """The cookies that the sign-in page gives this person; the page itself has tests of its own."""
    client = Client(headers={"host": urlsplit(url).netloc})
    answer = client.post("/sign-in/", {"username": account.get_username(), "password": PASSWORD})
    assert answer.status_code == 302
    return [
        {"name": name, "value": each.value, "url": url} for name, each in client.cookies.items()
    ]


def person(role: str) -> User:
    """The account of this role's person, made when it is not there yet."""
    username = role.lower()
    account = User.objects.filter(username=username).first()
    if account is None:
        account = User(username=username, first_name="Ines", last_name=role)
        account.is_staff = account.is_superuser = role == "Administrator"
        account.set_password(PASSWORD)
        trail.save(account, by=actor, lists={"groups": [Group.objects.get(name=role)]})
    return account
