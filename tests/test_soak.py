"""The soak tells what is amiss, and a short one finds nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.soak.ledger import KILLED, RESTARTED, Excuse, Excuses, Failure, Ledger
from benchmarks.soak.people import Met
from benchmarks.soak.report import Soak
from benchmarks.soak.site import Held
from tests.image import ROOT
from tests.tools import needs

HELD = Held(10, 200, 30, 40, 100, 10, 20, 8)


def test_an_answer_of_today_holds_everybody_and_nobody_else() -> None:
    ledger = Ledger({"CT1": Counter({"P1": 2, "P2": 1})})
    assert ledger.fault_of_today("CT1", ["P2", "P1", "P1"]) == ""
    assert ledger.fault_of_today("CT1", ["P2", "P1"]) == "1 of today too many or missing"
    assert ledger.fault_of_today("CT1", ["P2", "P1", "P3"]) == "2 of today too many or missing"


def test_an_answer_holds_who_was_saved_before_and_nobody_who_was_not_booked() -> None:
    ledger = Ledger({"CT1": Counter()})
    ledger.begin("CT1", "P1")
    early = ledger.certain("CT1")
    # While it is being saved, it may be there or not.
    assert ledger.fault_of_later("CT1", early, []) == ""
    assert ledger.fault_of_later("CT1", early, ["P1"]) == ""
    ledger.saved("CT1", "P1")
    assert ledger.fault_of_later("CT1", early, []) == "", "that query began before"
    late = ledger.certain("CT1")
    assert ledger.fault_of_later("CT1", late, ["P1"]) == ""
    assert ledger.fault_of_later("CT1", late, []) == "1 saved and missing"
    assert ledger.fault_of_later("CT1", late, ["P1", "P1"]) == "a patient is there twice"
    assert ledger.fault_of_later("CT1", late, ["P1", "P2"]) == "1 that nobody booked"


@pytest.mark.parametrize(
    ("kind", "failure", "is_save", "is_excused"),
    [
        (KILLED, Failure(9, 11, "the connection was closed"), False, True),
        (KILLED, Failure(9, 9.5, "the connection was closed"), False, False),
        (KILLED, Failure(12, 13, "the connection was closed"), False, False),
        (KILLED, Failure(9, 11, "status A700"), False, False),
        (KILLED, Failure(9, 11, "the connection was closed"), True, False),
        (RESTARTED, Failure(9, 11, "status A700"), False, True),
        (RESTARTED, Failure(11.5, 11.6, "status A700"), False, True),
        (RESTARTED, Failure(14, 15, "status A700"), False, False),
        (RESTARTED, Failure(9, 11, "status C001"), False, False),
        (RESTARTED, Failure(9, 11, "the connection was closed"), False, False),
        (RESTARTED, Failure(9, 11, "status 503, not 302"), True, True),
    ],
)
def test_a_failure_is_excused_by_the_fault_that_makes_it_and_no_other(
    kind: str, failure: Failure, is_save: bool, is_excused: bool
) -> None:
    excuses = Excuses([Excuse(kind, began=10, ended=11 if kind == RESTARTED else 10.1)])
    assert excuses.of(failure, is_save=is_save) == (kind if is_excused else "")


def soak(**more: Any) -> Soak:
    usual: dict[str, Any] = {
        "minutes": 5,
        "scanners": 40,
        "clerks": 3,
        "asked": Met([5.0] * 100),
        "booked": Met([80.0] * 10),
        "excuses": Excuses([Excuse(KILLED, 10, 10.1)]),
        "harms": Counter(aborts=3),
        "held": [HELD, HELD],
        "said": 0,
    }
    return Soak(**{**usual, **more})


@pytest.mark.parametrize(
    ("amiss", "line"),
    [
        ({"asked": Met([5.0], wrong=["CT1: 1 saved and missing"])}, "WRONG: CT1: 1 saved"),
        ({"asked": Met([5.0], [Failure(20, 21, "reset")])}, "FAILED: query: reset (1)"),
        ({"booked": Met([5.0], [Failure(20, 21, "status 500")])}, "FAILED: save: status 500 (1)"),
        ({"said": 2}, "SAID: 2 errors in the log"),
        (
            {"held": [HELD, replace(HELD, scp_memory=251, scp_descriptors=65)]},
            "MORE HELD: scp_memory 200 to 251\nMORE HELD: scp_descriptors 40 to 65",
        ),
    ],
)
def test_what_is_amiss_is_named(amiss: dict[str, Any], line: str) -> None:
    told = soak(**amiss)
    assert line in told.table()
    assert told.table().endswith("\nNot all is well.")
    assert not told.told()["is_well"]


def test_where_nothing_is_amiss_all_is_well() -> None:
    told = soak(asked=Met([5.0] * 100, [Failure(9, 11, "the connection was closed")]))
    assert told.table().endswith("\nAll is well.")
    assert told.told()["is_well"]
    json.dumps(told.told())


@needs("postgres")
@pytest.mark.timeout(300)
def test_a_short_soak_finds_nothing_amiss() -> None:
    options = ("--minutes", "0.1", "--scanners", "8", "--clerks", "2", "--every", "0.5")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *options, "--steps", "400", "--today", "80"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["wrong"], told["unexcused"]) == (0, {}), done.stdout
    assert told["queries"]["count"] > 50
    assert told["saves"]["count"] > 3
    assert {KILLED, RESTARTED, "aborts", "scans ports"} <= told["injected"].keys()
    assert done.returncode == 0, done.stdout
