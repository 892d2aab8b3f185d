"""What holds for every test: the report's first line, and tests that need a tool of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import tools
from tests.findscu import Findscu

if TYPE_CHECKING:
    from worklist.models import ProcedureType, Station


def pytest_report_header(config: pytest.Config) -> str:
    """Say what this run is on, since a green run without a browser is less than one with it."""
    from django.conf import settings

    engine = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    because = getattr(settings, "SQLITE_BECAUSE", "")
    database = f"{engine} (no PostgreSQL: {because})" if because else engine
    return f"worklist: {database}, browser {tools.chromium()}, dcmtk {tools.findscu()}"


# Whoever asks for one of these, or is marked with django_db, meets the database of the tests.
_DATABASE = {"db", "transactional_db", "live_server"}
# Whoever asks for one of these asks a real SCP over the network.
_SERVES = {"findscu", "ours", "scp", "scps"}
_ABOUT_OTHERS = {"test_benchmarks.py", "test_health.py", "test_heartbeat.py", "test_readiness.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what goes over the network, which must hold on either way of answering, and what is
    another test on another database: a browser sees the same pages, whichever it is.

    What is about pages or measurements besides does not go over the network.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        is_browser = "browser" in item.path.parts
        if not is_browser and (item.get_closest_marker("django_db") or fixtures & _DATABASE):
            item.add_marker("database")
        is_about_others = is_browser or item.path.name in _ABOUT_OTHERS
        if not is_about_others and fixtures & _SERVES:
            item.add_marker("network")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for tool in mark.args:
            tools.require(tool)


@pytest.fixture
def findscu(transactional_db: None, tmp_path: Path) -> Iterator[Findscu]:
    """The witness at a server of ours that sees the test's database."""
    from dicomscp.server import WorklistScp

    tools.require("dcmtk")
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield Findscu(scp.port, tmp_path)
    scp.stop()


@pytest.fixture
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's clock stands at the cast's NOW."""
    from tests.cast import NOW
    from worklist import clock

    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def ct1(db: None) -> Station:
    """The scanner at which the tests of booking book."""
    from tests.cast import station

    return station("CT1", "CT 1")


@pytest.fixture
def head(ct1: Station) -> ProcedureType:
    """The exam that they book."""
    from tests.cast import kind

    return kind("CTHEAD", "CT head", default_station=ct1, minutes=15)
