"""What holds for every test: the report's first line, and tests that need a tool of the machine."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DEFAULT_DB_ALIAS
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker

from tests import emptying, order, tools
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
_ABOUT_OTHERS = (
    "tests/browser/",
    "tests/test_add_scanner",
    "tests/test_benchmarks.py",
    "tests/test_health.py",
    "tests/test_heartbeat.py",
    "tests/test_readiness.py",
    "tests/test_tls",
)
# What these look at are browsers, peers, processes, ports and certificates, around whichever
# database, or they bring the one that they break.
_ABOUT_PROCESSES = (
    "tests/browser/",
    "tests/faults/",
    "tests/test_deployment.py",
    "tests/test_fronts.py",
    "tests/test_replica.py",
    "tests/test_send_audit.py",
    "tests/test_tls",
    "tests/test_workers.py",
)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> order.Scheduling:
    return order.Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what goes over the network, which must hold on either way of answering, and what is
    another test on another database: a browser sees the same pages, whichever it is.

    What is about pages, measurements or certificates besides does not go over the network.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        meets = item.get_closest_marker("django_db") or fixtures & _DATABASE
        if meets and not item.nodeid.startswith(_ABOUT_PROCESSES):
            item.add_marker("database")
        if fixtures & _SERVES and not item.nodeid.startswith(_ABOUT_OTHERS):
            item.add_marker("network")
    if hasattr(config, "workerinput"):
        order.sort(items)


def pytest_collection_finish() -> None:
    """Have the garbage collector look at no test and no module again."""
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for tool in mark.args:
            tools.require(tool)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Each test finds the database empty, and leaves it so in less time than Django takes."""

    def empty(case: Any) -> None:
        for using in case._databases_names(include_mirrors=False):
            emptying.empty(using)

    with django_db_blocker.unblock():
        emptying.begin(DEFAULT_DB_ALIAS)
    with pytest.MonkeyPatch.context() as patch:
        # No setting says how it is done.
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
        yield
    with django_db_blocker.unblock():
        emptying.hang_up(DEFAULT_DB_ALIAS)


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
