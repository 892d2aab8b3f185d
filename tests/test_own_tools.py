"""The tests' own tools: the choice of a database, tools that are missing, pytest's command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from environ import Env

from tests import postgres, settings, tools
from worklist.management.commands.test import PARALLEL, with_parallel


@pytest.fixture
def no_postgres(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without PostgreSQL, and a caller who asked for nothing."""

    def find() -> Iterator[Path]:
        yield from ()

    monkeypatch.setattr(postgres, "find", find)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("DATABASE_URL", "WORKLIST_TEST_DB", "WORKLIST_REQUIRE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_postgres")
class TestDatabase:
    def test_a_given_database_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgres://server/worklist")
        assert settings.choose_database() == ("postgres://server/worklist", "")

    def test_a_given_database_of_the_other_kind_is_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgres://server/worklist")
        monkeypatch.setenv("WORKLIST_TEST_DB", "sqlite")
        url, because = settings.choose_database()
        assert url.startswith("sqlite:///")
        assert because == ""

    def test_without_postgresql_it_is_sqlite_and_the_reason_is_told(self) -> None:
        url, because = settings.choose_database()
        assert url.startswith("sqlite:///")
        assert "apt-get install postgresql" in because

    @pytest.mark.parametrize(
        ("name", "value"),
        [("WORKLIST_REQUIRE", "browser postgres"), ("WORKLIST_TEST_DB", "postgres")],
    )
    def test_without_postgresql_a_run_that_wants_it_ends(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit, match="did not start"):
            settings.choose_database()


@pytest.mark.parametrize(("required", "outcome"), [("", "skipped"), ("dcmtk", "failed")])
def test_a_missing_tool_skips_or_where_it_is_required_fails(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: str
) -> None:
    monkeypatch.setattr(tools, "is_there", lambda tool: False)
    monkeypatch.setenv("WORKLIST_REQUIRE", required)
    expected = {"skipped": pytest.skip.Exception, "failed": pytest.fail.Exception}[outcome]
    with pytest.raises(expected, match="apt-get install dcmtk"):
        tools.require("dcmtk")


def test_sqlite_by_choice_skips_what_needs_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "is_there", lambda tool: False)
    monkeypatch.setenv("WORKLIST_REQUIRE", "postgres")
    monkeypatch.setenv("WORKLIST_TEST_DB", "sqlite")
    with pytest.raises(pytest.skip.Exception):
        tools.require("postgres")


@pytest.mark.parametrize("arguments", [[], ["-x"], ["-k", "matching"], ["--lf", "-q"]])
def test_a_run_of_the_whole_suite_uses_every_core(arguments: list[str]) -> None:
    assert with_parallel(arguments) == [*PARALLEL, *arguments]


@pytest.mark.parametrize("arguments", [["-n4"], ["-n", "0"], ["--pdb"], ["-s"], [f"{__file__}::x"]])
def test_a_run_that_says_otherwise_is_left_alone(arguments: list[str]) -> None:
    assert with_parallel(arguments) == arguments


@pytest.mark.django_db
def test_the_database_url_for_a_child_names_the_tests_own_database() -> None:
    config = Env.db_url_config(tools.database_url())
    assert config["ENGINE"].endswith(connection.vendor) or connection.vendor == "sqlite"
    for key in ("NAME", "USER", "HOST"):
        assert config[key] == str(connection.settings_dict[key])
