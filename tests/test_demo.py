from __future__ import annotations

import socket
from pathlib import Path

import pytest

from worklist import demo


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(demo, "VAR", tmp_path)
    monkeypatch.setattr(demo, "LOCK", tmp_path / "demo.lock")
    return tmp_path


@pytest.fixture(autouse=True)
def no_database_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_a_port_that_is_taken_leads_to_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = demo.free_port("web", "127.0.0.1", port)
    assert found > port
    assert capsys.readouterr().out == f"web: port {port} is taken, using {found}\n"


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(demo.CannotRunError, match=r"cannot listen on 192\.0\.2\.1"):
        demo.free_port("web", "192.0.2.1", 8000)


def test_a_second_demo_learns_where_the_first_one_is(var: Path) -> None:
    with demo.alone() as lock:
        lock.write("http://127.0.0.1:8001/")
        lock.flush()
        with pytest.raises(
            demo.CannotRunError, match=r"already running: http://127\.0\.0\.1:8001/"
        ):
            demo.alone().__enter__()
    with demo.alone():
        assert (var / "demo.lock").read_text() == ""


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_URL_FILE"])
def test_a_database_of_another_use_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "postgres://hospital/worklist")
    with pytest.raises(demo.CannotRunError, match="--force"):
        demo.refuse_another_database(reset=False, force=False)


def test_a_database_of_another_use_is_never_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://hospital/worklist")
    demo.refuse_another_database(reset=False, force=True)
    with pytest.raises(demo.CannotRunError, match="--reset"):
        demo.refuse_another_database(reset=True, force=True)


def test_everything_started_uses_the_demos_own_database() -> None:
    demo.refuse_another_database(reset=True, force=False)
    places = demo.Places("0.0.0.0", 8001, "0.0.0.0", 11113)
    environment = demo.own_environment(places)
    assert environment["DATABASE_URL"].endswith("/var/demo.sqlite3")
    assert environment["DICOM_PORT"] == "11113"
    # A server that listens everywhere is reached, from this machine, here.
    assert places.web == "http://127.0.0.1:8001/"
    assert places.peer[:4] == ("--host", "127.0.0.1", "--port", "11113")
