from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from benchmarks import figures, load, packets, queries, table
from benchmarks.load import Load, Measured
from benchmarks.packets import WrongAnswerError
from benchmarks.results import Cell, Figures, Results, Run
from benchmarks.web.browser import forms
from dicomscp.server import WorklistScp
from tests.tools import needs
from worklist import clock

ROOT = Path(__file__).resolve().parent.parent

PAGE = """
<form action="/search/"><input name="q"></form>
<form method="post" action="/exams/new/">
  <input type="hidden" name="csrfmiddlewaretoken" value="t">
  <input name="time" value="08:00"><input type="checkbox" name="no"><input type="file" name="f">
  <input type="checkbox" name="yes" checked value="1">
  <input type="radio" name="urgency" value="STAT"><input type="radio" name="urgency" value="ROUTINE" checked>
  <select name="station"><option value="">–</option><option value="3" selected>CT</option></select>
  <select name="exam"><option value="">–</option><option value="7">CT head</option></select>
  <textarea name="reason">why</textarea><button name="save" value="1">Save</button>
</form>
"""  # noqa: E501


def test_form_is_sent_as_a_browser_would_send_it() -> None:
    form = forms(PAGE)[0]
    assert (form.method, form.action) == ("post", "/exams/new/")
    assert form.filled({"exam": "7", "time": "09:00"}) == [
        ("csrfmiddlewaretoken", "t"),
        ("yes", "1"),
        ("urgency", "ROUTINE"),
        ("station", "3"),
        ("reason", "why"),
        ("exam", "7"),
        ("time", "09:00"),
    ]
    assert form.options["exam"] == ["", "7"]


@needs("postgres")
def test_a_small_run_measures_and_ends_with_one_line_of_json() -> None:
    sizes = ("--steps", "300", "--today", "30", "--patients", "100", "--requests", "3")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.web", *sizes],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert {
        label: result.get("note") for label, result in told["results"].items()
    } == dict.fromkeys(("frame alone", "board", "board, unchanged", "patient lookup", "booking"))


# --- the load client ------------------------------------------------------------------------------


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


@pytest.fixture
def questions(transactional_db: None) -> queries.Questions:
    call_command(
        "synthesize",
        120,
        today=60,
        stations=6,
        modalities=2,
        to_do=True,
        verbosity=0,
        stdout=io.StringIO(),
    )
    connection.ensure_connection()
    assert connection.connection is not None
    return queries.choose(connection.connection, today=clock.today())


def asking(scp: WorklistScp, questions: queries.Questions, name: str, **more: Any) -> Load:
    query = questions.named(name)
    wanted = {
        "matches": query.matches,
        "identifier": query.identifier.hex(),
        "seconds": 0.0,
        **more,
    }
    return Load(port=scp.port, calling=questions.calling, **wanted)


def test_every_query_is_answered_with_as_many_matches_as_the_database_has(
    scp: WorklistScp, questions: queries.Questions
) -> None:
    found = {query.name: query.matches for query in questions.queries}
    assert (found["Q1"], found["Q2"], found["Q3"], found["Q4"]) == (10, 30, 1, 60)
    for name in found:
        assert load.run(asking(scp, questions, name)).times


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("clients", [1, 5])
def test_the_load_client_counts_every_answer_in_a_process_of_its_own(
    scp: WorklistScp, questions: queries.Questions, clients: int, is_kept: bool
) -> None:
    wanted = asking(scp, questions, "Q1", clients=clients, is_kept=is_kept, least=10)
    looked = []
    measured = load.measure(wanted, midway=lambda: looked.append("once"))
    assert len(measured.times) >= 10
    assert min(measured.times) > 0
    assert 0 < measured.cpu < measured.seconds
    assert measured.octets > 10 * 400
    assert looked == ["once"]


def test_a_wrong_number_of_matches_is_an_error(
    scp: WorklistScp, questions: queries.Questions
) -> None:
    with pytest.raises(WrongAnswerError, match="10 matches, not 11"):
        load.measure(asking(scp, questions, "Q1", matches=11))


def test_a_query_that_is_refused_is_an_error(
    scp: WorklistScp, questions: queries.Questions
) -> None:
    refused = queries.identifier({}, {"ScheduledProcedureStepStartDate": "20260102-20260101"})
    with pytest.raises(WrongAnswerError, match="status A900"):
        load.measure(asking(scp, questions, "Q1", identifier=refused.hex()))


def test_nobody_at_the_port_is_an_error(scp: WorklistScp, questions: queries.Questions) -> None:
    asked = asking(scp, questions, "Q1")
    scp.stop()
    with pytest.raises(WrongAnswerError, match="refused"):
        load.measure(asked)


def test_the_load_client_asks_by_echo_as_well(
    scp: WorklistScp, questions: queries.Questions
) -> None:
    assert load.run(asking(scp, questions, "Q1", identifier="", matches=0)).times


def answer(*statuses: int) -> bytes:
    """An answer of these responses, each Pending with data, a PDU for each of its two parts."""

    def pdu(control: int, fragment: bytes) -> bytes:
        part = struct.pack(">LBB", len(fragment) + 2, 1, control) + fragment
        return struct.pack(">BxL", 4, len(part)) + part

    encoded = b""
    for status in statuses:
        command = struct.pack("<HHLLHHLH", 0, 0, 4, 10, 0, 0x0900, 2, status)
        encoded += pdu(3, command)
        if status >> 8 == 0xFF:
            encoded += pdu(2, bytes(range(256)))
    return encoded


def test_matches_are_counted_wherever_the_bytes_are_cut() -> None:
    whole = answer(0xFF00, 0xFF01, 0xFF00, 0x0000)
    assert packets.strictly(whole).statuses == (0xFF00, 0xFF01, 0xFF00, 0x0000)
    for size in range(1, len(whole) + 1):
        counting = packets.matches()
        next(counting)
        with pytest.raises(StopIteration) as ended:
            for at in range(0, len(whole), size):
                counting.send(whole[at : at + size])
        assert ended.value.value == 3, size
        assert at + size >= len(whole), "the answer was taken for whole before it was"


def test_a_line_that_ends_in_mid_answer_is_an_error() -> None:
    counting = packets.matches()
    next(counting)
    counting.send(answer(0xFF00))
    with pytest.raises(WrongAnswerError, match="closed"):
        counting.send(b"")


# --- figures --------------------------------------------------------------------------------------


def test_a_percentile_is_the_nearest_rank() -> None:
    numbers = [float(number) for number in range(1, 101)]
    assert [figures.percentile(numbers, percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert figures.percentile([7.0], 99) == 7


def test_costs_are_those_of_a_process_and_all_that_it_started() -> None:
    burns = "import os\nfor _ in range(2): os.fork()\nsum(range(10**6))\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", burns], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        assert len(figures.family(process.pid)) == 4
        assert figures.cpu(process.pid) > 0
        assert 0 < figures.memory(process.pid) < figures.memory(os.getpid())
        assert len([path for path in figures.files(process.pid) if "pipe:" in path]) == 8
        process.kill()


def some(per_second: float, *, server_cpu: float = 1.0) -> Figures:
    times = tuple(1000 / per_second for _ in range(100))
    measured = Measured(times, 100 / per_second, cpu=0.001, octets=20_000)
    return Figures(20, [Run(measured, server_cpu, 0.0, 10.0)])


def results() -> Results:
    q1, crowd = Cell("Q1"), Cell("Q1", clients=32)
    return {
        (1000, "wlmscpfs", q1): some(10),
        (1000, "Orthanc", q1): some(12),
        (1000, table.SQLITE, q1): some(500),
        (1000, table.POSTGRES, q1): some(480),
        (table.BIG, table.POSTGRES, q1): some(300),
        (1000, table.POSTGRES, crowd): some(500),
        (1000, table.POSTGRES_2, crowd): some(600, server_cpu=1.5),
        (1000, "Orthanc", crowd): Figures(20, error="19 matches, not 20"),
    }


def test_targets_are_told_with_the_ratio_to_the_best_peer_of_the_run() -> None:
    told = {each.words: (each.reached, each.is_met) for each in table.targets(results())}
    assert told == {
        "Q1 new ×1, 1,000 entries, PostgreSQL": ("40.0 ×", True),
        "Q1 new ×1, 1,000,000 entries against 1,000, time": ("1.6 ×", False),
        "Q1 new ×32, 1,000 entries, p99 against median": ("1.0 ×", True),
        "2 workers against one, 1,000 entries, or by CPU a query": ("1.3 ×", False),
        "Q1 new ×1, 1,000 entries, SQLite against PostgreSQL": ("1.0 ×", True),
    }


def test_the_table_has_a_line_a_server_and_names_what_went_wrong() -> None:
    lines = table.tables(results()).splitlines()
    (line,) = (line for line in lines if "PostgreSQL " in line and " 480.0 " in line)
    assert line.split() == (
        ["PostgreSQL", "480.0", "40.0", "2.08", "2.08", "10.00", "0.00", "0.01", "10"]
    )
    assert "  1,000 Orthanc Q1 new ×32: 19 matches, not 20" in lines


@needs("dcmtk")
def test_a_glance_compares_a_peer_with_ours_and_ends_with_one_line_of_json() -> None:
    options = ("--glance", "--sizes", "40", "--servers", "wlmscpfs", "SQLite", "--seconds", "0")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])["results"]["40"]
    assert told.keys() == {"wlmscpfs", "SQLite"}
    for server in told.values():
        assert len(server) == 7
        assert not [cell for cell in server.values() if "error" in cell]
    matches = [[cell["matches"] for cell in server.values()] for server in told.values()]
    assert matches[0] == matches[1]
    assert "× peer" in done.stdout


def test_silent_associations_are_measured_and_each_is_answered() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.idle", "6", "--servers", "SQLite", "--seconds", "0.2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout.splitlines()[-1])["results"]
    assert (told["server"], told["associations"], told["answered"]) == ("SQLite", 6, 6)
    assert told["accepted"] > 0
    assert told["alone"][0] <= told["alone"][1]


def test_associations_leave_nothing_behind() -> None:
    """`python -m benchmarks.associations` does it with 10,000."""
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "benchmarks.associations",
                "1500",
                "--first=500",
                "--settles=3",
            ),
            f"--server={'SQLite' if connection.vendor == 'sqlite' else 'PostgreSQL'}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    first, *_, last = told["results"]
    assert told["faults"] == []
    assert 500 <= first["associations"] < 600
    assert last["associations"] >= 1500
    # Threads and connections that are kept may come late, when as many ask at once at last.
    assert last["threads"] <= first["threads"] + 8
    assert last["descriptors"] <= first["descriptors"] + 12
    assert last["connections"] <= first["connections"] + 12
    # The memory of those, too; 16 kB that each left behind would be seen.
    assert last["memory"] < first["memory"] + 16
