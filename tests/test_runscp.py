"""`manage.py runscp`: what it says when it starts, does not start, and stops."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp import models
from tests import network
from tests.asking import found, implicit_only, query
from tests.cast import step
from tests.processes import STOPS_WITHIN, Start, first_line, refusal, runscp, signed_activity

__all__ = ["runscp"]  # a fixture
pytestmark = pytest.mark.django_db(transaction=True)


def test_runscp_serves_stops_on_sigterm_and_starts_again_on_its_port(runscp: Start) -> None:
    step(ScheduledProcedureStepID="S1")
    port = "0"
    for _ in range(2):
        process = runscp("--port", port)
        line = first_line(process)
        assert line.startswith("Worklist SCP WORKLIST on 127.0.0.1:")
        port = line.partition("127.0.0.1:")[2].partition(",")[0]
        idle = implicit_only(int(port))
        with network.association(int(port), ImplicitVRLittleEndian) as assoc:
            assert found(assoc) == "S1"
        assert idle.is_established
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=STOPS_WITHIN)
        assert (process.returncode, out) == (0, "Worklist SCP stopped\n")
        assert "Traceback" not in err
        idle.abort()
    assert signed_activity() == ["start", "stop"] * 2


def test_runscp_writes_what_the_journal_is_owed_before_it_ends(runscp: Start) -> None:
    process = runscp("--port", "0")
    port = first_line(process).partition("127.0.0.1:")[2].partition(",")[0]
    with network.association(int(port), ImplicitVRLittleEndian) as assoc:
        network.ask(assoc, query())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=STOPS_WITHIN)
    (asked,) = models.Query.objects.select_related("association")
    assert asked.association is not None
    assert asked.association.ended in (models.Ended.RELEASED, models.Ended.ABORTED)


def test_runscp_refuses_a_port_that_is_taken(runscp: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(runscp("--port", str(port)))
    assert f"Port {port} on 127.0.0.1 is taken" in said


def test_runscp_refuses_a_database_without_its_tables(runscp: Start, tmp_path: Path) -> None:
    said = refusal(runscp("--port", "0", DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3"))
    assert "migration(s): run manage.py migrate first." in said


def test_runscp_refuses_what_is_no_ae_title(runscp: Start) -> None:
    assert "17 characters" in refusal(runscp("--ae-title", "SEVENTEEN_LETTERS"))
