"""What is set of a station is remembered while it stands, and not a moment longer."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, transaction
from django.db.models.signals import pre_migrate
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp import access, lease, stations
from dicomscp.access import Call, Reason
from dicomscp.answers import ANSWERS
from dicomscp.find import Reading
from dicomscp.server import WorklistScp
from dicomscp.statement import Statement
from dicomscp.status import NOT_AUTHORISED, OUT_OF_RESOURCES, PENDING
from tests import cast, network
from tests.asking import query
from tests.cast import actor
from tests.test_answer import ask, statuses
from worklist import shared
from worklist.audit import trail
from worklist.models import (
    Counter,
    ModalityAlias,
    ScheduledProcedureStep,
    ShownStatus,
    Station,
    StationTitle,
)
from worklist.models.stations import Sees

pytestmark = pytest.mark.django_db(transaction=True)

ALL = query()


@pytest.fixture(autouse=True)
def ct1(settings: Any) -> Iterator[Station]:
    """A scanner that has asked before, and its exam; connections are kept."""
    settings.DICOM_ACCESS = "known"
    lease.keep()
    ANSWERS.clear()
    station = cast.station()
    cast.step(ScheduledProcedureStepID="S1")
    assert found() == 1
    ask(ALL)
    yield station
    lease.close()


def found(wanted: Any = ALL, *, calling: str = "CT1") -> int:
    """How many steps are answered; it is the same when nothing is remembered."""
    answered = [statuses(ask(wanted, calling=calling)) for _ in range(2)]
    ANSWERS.clear()
    assert statuses(ask(wanted, calling=calling)) == answered[0] == answered[1]
    return answered[0].count(PENDING)


def is_refused(calling: str = "CT1") -> bool:
    ((status, _),) = ask(ALL, calling=calling) or [(None, None)]
    return getattr(status, "Status", None) == NOT_AUTHORISED


def sent(monkeypatch: pytest.MonkeyPatch, wanted: Any = ALL) -> int:
    """How many statements a query takes."""
    count = itertools.count()
    rows = Statement.rows

    def counted(statement: Statement, *marks: Any) -> Any:
        next(count)
        return rows(statement, *marks)

    with monkeypatch.context() as patch:
        patch.setattr(Statement, "rows", counted)
        ask(wanted)
    return next(count)


def change(station: Station, **columns: Any) -> None:
    for name, value in columns.items():
        setattr(station, name, value)
    trail.save(station, by=actor)


def give(station: Station, name: str, row: Any) -> None:
    trail.save(station, by=actor, lists={name: [row]})


def run(statement: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


# --- what changes ---------------------------------------------------------------------------------


def test_each_table_of_the_rules_is_counted() -> None:
    sql, _ = stations._by_title().sql_with_params
    tables = {model._meta.db_table for model in shared.RULES}
    read = {word.strip('"') for word in sql.replace(".", " ").split() if "worklist_" in word}
    assert {each for each in read if each in connection.introspection.table_names()} == {
        *tables,
        "worklist_counter",
    }


@pytest.mark.parametrize("model", shared.RULES)
@pytest.mark.parametrize("is_past_us", [False, True])
def test_each_row_that_comes_changes_or_goes_is_counted(
    model: Any, is_past_us: bool, ct1: Station
) -> None:
    parts: dict[Any, Callable[[], Any]] = {
        Station: lambda: Station(ae_title="MR9", name="MR 9", modality="MR"),
        StationTitle: lambda: StationTitle(station=ct1, ae_title="CT9"),
        ModalityAlias: lambda: ModalityAlias(station=ct1, asked="MR", held="CT"),
        ShownStatus: lambda: ShownStatus(station=ct1, status="SCHEDULED"),
    }
    row = parts[model]()
    counts = [stations.stamp.count()]

    def count_after(write: Callable[[], object]) -> None:
        write()
        counts.append(stations.stamp.count())

    table = model._meta.db_table
    count_after(row.save)
    if is_past_us:
        count_after(lambda: run(f"UPDATE {table} SET id = id + 1000 WHERE id = %s", row.pk))
        count_after(lambda: run(f"DELETE FROM {table} WHERE id = %s", row.pk + 1000))
    else:
        count_after(row.save)
        count_after(row.delete)
    assert None not in counts
    assert len(set(counts)) == 4


def test_a_scanner_that_is_switched_off_is_refused_at_once(ct1: Station) -> None:
    change(ct1, is_allowed=False)
    assert is_refused()
    assert is_refused()
    change(ct1, is_allowed=True)
    assert found() == 1


def test_an_address_that_is_set_holds_at_once(ct1: Station) -> None:
    change(ct1, networks="10.0.0.0/8")
    assert is_refused()
    change(ct1, networks="127.0.0.0/8")
    assert found() == 1


def test_a_rule_that_is_set_holds_at_once(ct1: Station) -> None:
    cast.book(cast.patient("P2"), start_time=dt.time(10), stations=[cast.station("CT2")])
    assert found() == 2
    change(ct1, match_limit=1)
    assert found() == 0
    change(ct1, match_limit=None, sees=Sees.OWN)
    assert found() == 1


def test_parts_of_a_station_hold_at_once(ct1: Station) -> None:
    mr = query({"Modality": "MR"})
    assert found(mr) == 0
    give(ct1, "modality_aliases", ModalityAlias(asked="MR", held="CT"))
    assert found(mr) == 1
    give(ct1, "shown_statuses", ShownStatus(status="STARTED"))
    assert found(mr) == found() == 0


def test_another_station_may_take_the_title_over(ct1: Station) -> None:
    mr = cast.station("MR1", "MR 1")
    give(ct1, "titles", StationTitle(ae_title="CT9"))
    assert found(calling="CT9") == 1
    trail.save(ct1, by=actor, lists={"titles": []})
    give(mr, "titles", StationTitle(ae_title="CT9"))
    change(mr, is_allowed=False)
    assert is_refused("CT9")
    # Should a title be in both tables, it is the station's whose first title it is.
    Station(ae_title="CT9", name="CT 9", modality="CT").save()
    assert not is_refused("CT9")


def test_a_station_that_is_gone_is_a_stranger_at_once(ct1: Station) -> None:
    cast.station("MR1", "MR 1")
    run("DELETE FROM worklist_stepstation")
    Station.objects.filter(pk=ct1.pk).delete()
    assert is_refused()


def test_an_association_is_decided_by_what_is_set_now(ct1: Station) -> None:
    call = Call("CT1", "127.0.0.1", "WORKLIST", "WORKLIST")

    def reason() -> Reason:
        return lease.read(lambda: access.on_request(call, stations.now)).reason

    assert [reason(), reason()] == [Reason.KNOWN, Reason.KNOWN]
    change(ct1, is_allowed=False)
    assert reason() == Reason.SWITCHED_OFF


def test_an_association_that_stays_open_hears_of_it(ct1: Station) -> None:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    try:
        with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
            assert len(network.ask(assoc, ALL).pendings) == 1
            change(ct1, is_allowed=False)
            assert network.ask(assoc, ALL).final.Status == NOT_AUTHORISED
            change(ct1, is_allowed=True)
            assert len(network.ask(assoc, ALL).pendings) == 1
    finally:
        scp.stop()


def test_a_rule_that_cannot_be_read_holds_no_longer_than_it_is_set(ct1: Station) -> None:
    run("UPDATE worklist_station SET networks = '10.0.0.0/8 and more'")
    for _ in range(2):
        ((failed, _none),) = ask(ALL)
        assert failed.Status == 0xC000
    run("UPDATE worklist_station SET networks = ''")
    assert statuses(ask(ALL)) == [PENDING]


def test_what_the_database_fails_at_is_not_remembered(
    ct1: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(ct1, sees=Sees.OWN)
    ask(ALL)
    before = stations.remembered("CT1")
    assert before is not None

    def read(reading: Reading, *_: Any) -> Any:
        raise OperationalError("canceling statement due to statement timeout")

    with monkeypatch.context() as patch:
        patch.setattr(Reading, "keys", read)
        ((failed, _none),) = ask(ALL)
    assert failed.Status == OUT_OF_RESOURCES
    # It was read anew, the same as it is.
    assert stations.remembered("CT1") is not before


# --- histories ------------------------------------------------------------------------------------


def test_another_history_comes_to_another_count(ct1: Station) -> None:
    change(ct1, match_limit=5)
    seen: list[str | None] = []
    for _ in range(2):
        with transaction.atomic():
            change(Station.objects.get(), match_limit=6 + len(seen))
            seen.append(stations.stamp.count())
            transaction.set_rollback(True)
    assert seen[0] != seen[1]


def test_nothing_is_remembered_while_and_after_a_migration_fails(ct1: Station) -> None:
    pre_migrate.send(
        apps.get_app_config("worklist"),
        app_config=apps.get_app_config("worklist"),
        using=DEFAULT_DB_ALIAS,
        verbosity=0,
        interactive=False,
        plan=[],
        apps=apps,
    )
    assert stations.stamp.count() is None
    assert found() == 1
    assert stations.remembered("CT1") is None
    shared.after_migrating(DEFAULT_DB_ALIAS)
    assert stations.stamp.count()


@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_what_counted_before_goes(ct1: Station) -> None:
    run(
        "CREATE FUNCTION worklist_count_shared() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'still there'; END $$"
    )
    run(
        "CREATE TRIGGER worklist_station_rules AFTER UPDATE ON worklist_station FOR EACH STATEMENT"
        " EXECUTE FUNCTION worklist_count_shared()"
    )
    Counter.objects.create(name="shared rows", value=7)
    shared.after_migrating(DEFAULT_DB_ALIAS)
    change(ct1, match_limit=7)
    assert not Counter.objects.filter(name="shared rows").exists()


# --- what it takes --------------------------------------------------------------------------------


def test_what_is_remembered_costs_no_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    ask(ALL)
    assert sent(monkeypatch) == 1
    number = ScheduledProcedureStep.objects.get().requested_procedure.request.accession_number
    assert sent(monkeypatch, query(AccessionNumber=number)) == 1
    # Where there is no row, none tells by which rules it was read.
    assert sent(monkeypatch, query(AccessionNumber="none")) == 2


def test_too_many_are_counted_once(ct1: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    cast.book(cast.patient("P2"), start_time=dt.time(10), stations=[cast.station("CT2")])
    change(ct1, match_limit=1)
    ask(ALL)
    ask(ALL)
    counted = itertools.count()
    many = Reading.many
    monkeypatch.setattr(Reading, "many", lambda reading: (next(counted), many(reading))[1])
    ((refused, _none),) = ask(ALL)
    assert refused.ErrorComment == "2 matches, limit 1: narrow the query"
    assert next(counted) == 1


def test_in_a_transaction_statements_are_part_of_it(ct1: Station) -> None:
    def count_within() -> tuple[str | None, str | None]:
        with transaction.atomic():
            run("UPDATE worklist_station SET location = 'cellar'")
            within = stations.stamp.count()
            transaction.set_rollback(True)
        return within, stations.stamp.count()

    within, after = lease.read(count_within)
    assert within != after


def test_nothing_is_remembered_past_a_new_connection(ct1: Station) -> None:
    ask(ALL)
    assert stations.remembered("CT1")
    ANSWERS.clear()
    assert stations.remembered("CT1") is None


def test_where_nothing_counts_nothing_is_remembered(ct1: Station) -> None:
    ANSWERS.clear()
    run("DELETE FROM worklist_counter")
    assert found() == 1
    assert stations.remembered("CT1") is None


def test_strangers_fill_no_memory(ct1: Station, settings: Any) -> None:
    settings.DICOM_ACCESS = "any"
    before = len(stations._seen)
    for number in range(20):
        ask(ALL, calling=f"X{number}")
    assert len(stations._seen) == before
