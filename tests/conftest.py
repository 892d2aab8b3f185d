"""What holds for every test: the report's first line, and tests that need a tool of the machine."""

from __future__ import annotations

import pytest

from tests import tools


def pytest_report_header(config: pytest.Config) -> str:
    """Say what this run is on, since a green run without a browser is less than one with it."""
    from django.conf import settings

    engine = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    because = getattr(settings, "SQLITE_BECAUSE", "")
    database = f"{engine} (no PostgreSQL: {because})" if because else engine
    return f"worklist: {database}, browser {tools.chromium()}, dcmtk {tools.findscu()}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for tool in mark.args:
            tools.require(tool)
