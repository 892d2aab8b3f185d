"""Identifiers are kept while what they show stands, and not a moment longer."""

from __future__ import annotations

import datetime as dt
import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pynetdicom.dsutils import encode

from dicomscp import lease, narrowing, questions
from dicomscp.answers import ANSWERS, Answers
from dicomscp.answers import Key as Stamped
from dicomscp.find import Returning
from dicomscp.scope import NO_RULES
from dicomscp.stamp import Stamp
from tests import cast, network, test_revision
from tests.strategies import Key, Query
from tests.test_acceptance import query
from tests.test_answer import ask
from tests.tools import needs
from worklist import attributes, clock, shared
from worklist.attributes import Attribute
from worklist.audit import trail
from worklist.models import (
    Code,
    Counter,
    ScheduledProcedureStep,
    Station,
)

pytestmark = pytest.mark.django_db(transaction=True)

LEAVES = [one for one in attributes.walk() if not one.is_sequence]
EVERYTHING = Query(
    (
        Key(0x00080005, "CS", ("ISO_IR 192",)),
        *(Key(one.tag, one.vr) for one in sorted(attributes.TABLE, key=lambda one: one.tag)),
    )
)


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    """Connections are kept, and so are answers."""
    lease.keep()
    yield
    lease.close()


@pytest.fixture
def step() -> ScheduledProcedureStep:
    """A step with every row that an answer may show."""
    codes = [cast.code(f"C{number}") for number in range(4)]
    step = cast.book(cast.patient(), stations=[cast.station()], codes=codes[:1])
    procedure = step.requested_procedure
    procedure.code, procedure.reason_code, procedure.request.institution_code = codes[1:]
    trail.save(procedure, by=cast.actor)
    trail.save(procedure.request, by=cast.actor)
    return ScheduledProcedureStep.objects.get()


def answered(wanted: Query = EVERYTHING, *, implicit_vr: bool = True) -> list[bytes]:
    """What is answered, twice; it is what pydicom writes of what is stored now."""
    first, second = (ask(wanted, implicit_vr=implicit_vr) for _ in range(2))
    plain = [
        (status, encode(answer, implicit_vr, True))
        for status, answer in ask(wanted, implicit_vr=implicit_vr, takes_bytes=False)
    ]
    assert first == second == plain
    return [answer for _, answer in first]


def held(keys: list[Stamped]) -> int:
    """How many of these are kept, in whichever way they are written."""
    return sum(
        encoded is not None
        for how in {*ANSWERS._new, *ANSWERS._old}
        for encoded in ANSWERS.get(how, keys, age=ANSWERS.age)
    )


def stamps() -> list[Stamped]:
    return list(ScheduledProcedureStep.objects.annotate(s=Stamp()).values_list("pk", "s"))


# --- all that an answer shows ---------------------------------------------------------------------


def path_to(leaf: Attribute) -> tuple[list[Any], Any]:
    """The relations that lead from a step to the attribute's row, and its column there."""
    above: list[Any] = []
    model: Any = ScheduledProcedureStep
    *relations, name = narrowing.column(leaf).split("__")
    for each in relations:
        above.append(model._meta.get_field(each))
        model = above[-1].related_model
    return above, model._meta.get_field(name)


def row_of(step: ScheduledProcedureStep, relations: list[Any]) -> Any:
    row: Any = step
    for relation in relations:
        row = getattr(row, relation.name)
        row = row.get() if isinstance(relation, models.ManyToManyField) else row
    return row


def change(row: Any, field: Any, leaf: Attribute, number: int) -> None:
    """Give the column a value that no other holds."""
    value: Any = str(number)
    if leaf.vr == "DA":
        value = cast.DAY + dt.timedelta(days=number)
    elif leaf.vr == "TM":
        value = dt.time(9, 1 + number % 59)
    elif leaf.vr == "US":
        value = number
    elif leaf.keyword == "ScheduledProcedureStepStatus":
        # Others are seen by nobody.
        value = "READY"
    if field.name in ("value", "long_value", "urn_value"):
        # A code has exactly one of its kinds of value.
        row.value = row.long_value = row.urn_value = ""
    setattr(row, field.name, value)


def test_each_column_that_changed_is_in_the_next_answer(step: ScheduledProcedureStep) -> None:
    for number, leaf in enumerate(LEAVES):
        relations, field = path_to(leaf)
        before = answered()
        assert held(stamps()) == 1, leaf
        row = row_of(step, relations)
        change(row, field, leaf, number)
        trail.save(row, by=cast.actor)
        assert answered() != before, leaf


def test_no_column_is_shown_that_the_stamp_knows_nothing_of() -> None:
    # Whoever shows a column of another row must have it counted: a model under which steps hang
    # by `below`, rows that many steps show by worklist.shared.
    for leaf in LEAVES:
        relations, field = path_to(leaf)
        if field.model in (*shared.COLUMNS, *shared.RULES):
            assert field.name in shared.COLUMNS.get(field.model, [field.name]), leaf
            relations = relations[:-1]
        model: Any = ScheduledProcedureStep
        for relation in relations:
            model = relation.related_model
            assert model.below == relation.remote_field.get_accessor_name(), leaf
        assert hasattr(model, "version"), leaf


def test_lists_and_codes_that_are_others_are_in_the_next_answer(
    step: ScheduledProcedureStep,
) -> None:
    codes = list(Code.objects.order_by("pk"))
    stations = [cast.station("CT2"), cast.station()]
    procedure = step.requested_procedure
    seen = [answered()]
    writes: tuple[tuple[Any, dict[str, Any]], ...] = (
        (step, {"stations": stations}),
        (step, {"stations": stations[::-1]}),
        (step, {"protocol_codes": codes[:2]}),
        (step, {"protocol_codes": codes[1::-1]}),
        (step, {"stations": [], "protocol_codes": []}),
    )
    for row, lists in writes:
        trail.save(row, by=cast.actor, lists=lists)
        seen.append(answered())
    above: tuple[tuple[Any, str], ...] = (
        (procedure, "code"),
        (procedure, "reason_code"),
        (procedure.request, "institution_code"),
    )
    for row, name in above:
        for other in (codes[0], None):
            setattr(row, name, other)
            trail.save(row, by=cast.actor)
            seen.append(answered())
    assert all(one != other for one, other in pairwise(seen))


def test_whichever_verb_changes_a_step_the_next_answer_shows_it(
    step: ScheduledProcedureStep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worklist.clock.now", lambda: test_revision.NOW)
    seen = [answered()]
    verbs: tuple[Callable[[ScheduledProcedureStep], None], ...] = (
        lambda each: test_revision.import_file(each, tmp_path),
        *test_revision.VERBS,
    )
    for verb in verbs:
        verb(ScheduledProcedureStep.objects.get(pk=step.pk))
        seen.append(answered())
    assert all(one != other for one, other in pairwise(seen))


@pytest.mark.parametrize("model", [Code, Station])
def test_shared_rows_that_are_written_past_the_trail_are_in_the_next_answer(
    step: ScheduledProcedureStep, model: Any
) -> None:
    before = answered()
    name = "meaning" if model is Code else "ae_title"
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {name} = 'X' WHERE id = (SELECT min(id) FROM {table})")
    assert answered() != before


def past_the_broker() -> psycopg.Connection[Any]:
    """A connection as that of psql."""
    given = connection.get_connection_params()
    return psycopg.connect(
        **{name: given[name] for name in ("host", "port", "user", "dbname") if name in given}
    )


PAST_US = (
    "UPDATE worklist_patient SET name = 'Rossi^Paolo'",
    "UPDATE worklist_imagingservicerequest SET accession_number = 'X'",
    "UPDATE worklist_requestedprocedure SET description = 'X'",
    "DELETE FROM worklist_stepstation",
    "TRUNCATE worklist_stepprotocolcode",
    "CREATE TEMPORARY TABLE codes AS SELECT * FROM worklist_code; UPDATE codes SET meaning = 'X';"
    "DELETE FROM worklist_code; INSERT INTO worklist_code SELECT * FROM codes",
)


@needs("postgres")
@pytest.mark.parametrize("statement", PAST_US)
def test_what_psql_wrote_is_in_the_next_answer(
    step: ScheduledProcedureStep, statement: str
) -> None:
    before = answered()
    with past_the_broker() as past_us:
        past_us.execute(statement)
    assert answered() != before


@needs("postgres")
def test_who_may_write_nothing_but_patients_is_counted_as_well(
    step: ScheduledProcedureStep,
) -> None:
    before = answered()
    with past_the_broker() as past_us:
        past_us.execute("CREATE ROLE integration")
        past_us.execute("GRANT SELECT, UPDATE ON worklist_patient TO integration")
        past_us.execute("SET LOCAL ROLE integration")
        past_us.execute("UPDATE worklist_patient SET name = 'Rossi^Paolo'")
        past_us.execute("RESET ROLE; DROP OWNED BY integration; DROP ROLE integration")
    assert answered() != before


def test_what_the_broker_writes_is_not_counted_for_all(step: ScheduledProcedureStep) -> None:
    count = Counter.objects.get(pk=shared.COUNTER).value
    patient = step.requested_procedure.request.patient
    patient.name = "Rossi^Paolo"
    trail.save(patient, by=cast.actor)
    trail.save(step, by=cast.actor, lists={"stations": []})
    cast.book(cast.patient("P2"), start_time=dt.time(10))
    assert Counter.objects.get(pk=shared.COUNTER).value == count


def test_a_row_that_nothing_shows_yet_lets_what_is_kept_stand(step: ScheduledProcedureStep) -> None:
    answered()
    kept = stamps()
    cast.code("NEW")
    assert stamps() == kept
    assert held(kept) == 1


# --- what is committed, and what is not -----------------------------------------------------------


def test_what_was_rolled_back_is_never_shown(step: ScheduledProcedureStep) -> None:
    before = answered()
    for comments in ("one", "other"):
        with transaction.atomic():
            step.comments = comments
            trail.save(step, by=cast.actor)
            mine: list[Stamped] = [(step.pk, dict(stamps())[step.pk])]
            transaction.set_rollback(True)
        step.refresh_from_db()
        assert answered() == before
        assert held(mine) == 0
    step.comments = "another"
    trail.save(step, by=cast.actor)
    assert b"another" in answered()[0]


@needs("postgres")
def test_a_code_that_is_changed_but_not_committed_is_not_kept_under_what_comes(
    step: ScheduledProcedureStep,
) -> None:
    code = Code.objects.order_by("pk")[0]
    written, looked = threading.Event(), threading.Event()

    def rename() -> None:
        with transaction.atomic():
            code.meaning = "another"
            trail.save(code, by=cast.actor)
            written.set()
            looked.wait(20)
        connection.close()

    renaming = threading.Thread(target=rename)
    renaming.start()
    assert written.wait(20)
    step.comments = "meanwhile"
    trail.save(step, by=cast.actor)
    before = answered()
    looked.set()
    renaming.join(20)
    assert b"another" not in before[0]
    assert b"another" in answered()[0]


@needs("postgres")
def test_a_table_that_is_played_back_under_a_running_server_has_other_stamps(
    step: ScheduledProcedureStep,
) -> None:
    step.comments = "lost"
    trail.save(step, by=cast.actor)
    assert b"lost" in answered()[0]
    # As a restore leaves it, and people then go on: the same step, as often changed, otherwise.
    with connection.cursor() as cursor:
        cursor.execute("UPDATE worklist_scheduledprocedurestep SET comments = 'found'")
    assert b"found" in answered()[0]


@pytest.mark.parametrize("name", ["description", "start_date"])
def test_what_changes_while_an_answer_is_read_is_answered_as_one_moment_had_it(
    step: ScheduledProcedureStep, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = {"ScheduledProcedureStepStartDate": f"{cast.DAY:%Y%m%d}"}
    wanted = query({**day, "ScheduledProcedureStepDescription": ""}, PatientName="")
    read = Returning.rows

    def late(self: Returning, keys: Any) -> Any:
        monkeypatch.setattr(Returning, "rows", read)
        value = "CT" if name == "description" else dt.date(2024, 7, 8)
        setattr(step, name, value)
        # By another connection, as others do.
        writing = threading.Thread(target=save)
        writing.start()
        writing.join(20)
        return read(self, keys)

    def save() -> None:
        trail.save(step, by=cast.actor)
        connection.close()

    monkeypatch.setattr(Returning, "rows", late)
    found = ask(wanted)
    # A step that is moved to another day meanwhile is not among those of this day.
    assert len(found) == (1 if name == "description" else 0)
    assert all(b"CT" in answer for _, answer in found)
    assert answered(wanted) == [answer for _, answer in found]


def test_what_a_migration_writes_past_the_trail_is_shown_once_it_is_over(
    step: ScheduledProcedureStep,
) -> None:
    answered()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE worklist_patient SET name = 'Rossi^Paolo'")
    call_command("migrate", verbosity=0)
    assert b"Rossi" in answered()[0]


def test_a_step_that_is_given_the_key_of_one_that_was_deleted_has_another_stamp(
    step: ScheduledProcedureStep,
) -> None:
    before = stamps()
    again = ScheduledProcedureStep.objects.get()
    trail.delete(step, by=cast.actor)
    # As often changed, as steps are that are new; synthesize begins at the first key that is free.
    again.changed_at = timezone.now()
    again.save(force_insert=True)
    after = stamps()
    assert [key for key, _ in before] == [key for key, _ in after]
    assert before != after


def test_a_new_connection_may_be_to_another_database(step: ScheduledProcedureStep) -> None:
    before = answered()
    assert held(stamps()) == 1
    lease.close()
    lease.keep()
    # As a backup of another course of things may have it: the same stamp, another name.
    with connection.cursor() as cursor:
        cursor.execute("UPDATE worklist_patient SET name = 'Rossi^Paolo'")
    assert b"Rossi" in answered()[0]
    assert answered() != before


# --- what is read ---------------------------------------------------------------------------------


def found(wanted: Query) -> tuple[Any, list[bytes], list[str]]:
    """The steps, their Identifiers, and what was sent to the database for them."""
    encoded = network.encode(wanted, is_explicit=False)
    question = questions.understand(encoded, implicit_vr=True)
    answering = questions.answering(question, NO_RULES, now=clock.now())
    with CaptureQueriesContext(connection) as statements:
        answers = answering.found()
    return answers.steps, list(map(bytes, answers.identifiers)), [one["sql"] for one in statements]


def test_what_is_kept_is_not_read_again(step: ScheduledProcedureStep) -> None:
    ANSWERS.clear()
    steps, identifiers, sent = found(EVERYTHING)
    assert len(sent) == 2
    again, same, sent = found(EVERYTHING)
    assert (again, same) == (steps, identifiers)
    (keys,) = sent
    assert "worklist_patient" not in keys
    # Of two, only the one that is new is read and written.
    other = cast.book(cast.patient("P2"), start_time=dt.time(10))
    both, _, sent = found(EVERYTHING)
    assert both == [step.pk, other.pk]
    assert len(sent) == 2
    assert f"{other.pk}" in sent[1]


def test_whoever_asks_for_the_same_is_given_what_was_written_for_another(
    step: ScheduledProcedureStep,
) -> None:
    ANSWERS.clear()
    found(query({"Modality": "CT"}, PatientName=""))
    _, _, sent = found(query({"Modality": ""}, PatientName="Mül*"))
    # A name is looked at, and nothing else is.
    (keys,) = sent
    assert "patient_id" not in keys.partition("FROM")[0].replace("request_id", "")
    # Other keys are returned.
    _, _, sent = found(query({"Modality": ""}, PatientName="", PatientID=""))
    assert len(sent) == 2


def test_who_asks_by_a_number_reads_once(step: ScheduledProcedureStep) -> None:
    ANSWERS.clear()
    steps, _, sent = found(query(PatientID="P1"))
    assert steps == [step.pk]
    assert len(sent) == 1


def test_limits_hold_for_what_is_kept(step: ScheduledProcedureStep, settings: Any) -> None:
    cast.book(cast.patient("P2"), start_time=dt.time(10))
    wanted = query(PatientName="")
    assert len(answered(wanted)) == 2
    settings.DICOM_MATCH_LIMIT = 1
    ((told, nothing),) = ask(wanted)
    assert (told.Status, nothing) == (0xA700, None)
    assert told.ErrorComment == "2 matches, limit 1: narrow the query"
    # SQL does not decide about names.
    assert len(answered(query(PatientName="Müller*"))) == 1


def test_without_a_count_of_shared_rows_nothing_is_kept(step: ScheduledProcedureStep) -> None:
    Counter.objects.filter(pk=shared.COUNTER).delete()
    for _ in range(2):
        steps, identifiers, sent = found(EVERYTHING)
        assert steps == [step.pk]
        assert len(sent) == 2
        assert "worklist_patient" in sent[-1]
        assert answered() == identifiers
    shared.after_migrating("default")
    found(EVERYTHING)
    assert len(found(EVERYTHING)[2]) == 1


# --- memory ---------------------------------------------------------------------------------------


def test_memory_is_bounded_and_what_is_asked_for_stays() -> None:
    most = 1_000_000
    answers = Answers(most)
    how = "one way"

    def size() -> int:
        kept = (*answers._new.values(), *answers._old.values())
        return sum(len(encoded) for each in kept for encoded in each.values())

    answers.put(how, [((0, "1"), b"first")], age=answers.age)
    for number in range(1, 20_000):
        answers.put(how, [((number, "1"), bytes(1000))], age=answers.age)
        assert number % 100 or answers.get(how, [(0, "1")], age=0) == [b"first"]
        assert number % 1000 or size() <= most
    assert answers.get(how, [(1, "1"), (19_999, "1")], age=0) == [None, bytes(1000)]


def test_a_way_of_writing_that_is_forgotten_takes_no_memory_for_what_was_written_in_it(
    step: ScheduledProcedureStep,
) -> None:
    ask(query(PatientName="", Occupation=""))
    ways = [weakref.ref(each) for each in gc.get_objects() if type(each) is questions._Sheet]
    assert ways
    assert held(stamps())
    # As others do that are asked for.
    for remembered in (questions._answering, questions._shared, questions._sheet):
        remembered.cache_clear()
    gc.collect()
    assert not any(way() for way in ways)


def test_memory_is_bounded_however_many_ways_there_are_to_write() -> None:
    answers = Answers(1_000_000)
    tracemalloc.start()
    for number in range(20_000):
        answers.put(object(), [((number, f"{number}.1"), bytes(10))], age=answers.age)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000


def test_an_answer_that_was_given_up_is_collected_while_another_is_kept() -> None:
    answers = Answers()

    def answering() -> Iterator[None]:
        try:
            yield
        finally:
            answers.put("how", [((1, "1"), b"given up")], age=0)

    def written() -> Iterator[tuple[Stamped, bytes]]:
        gc.collect()
        yield (2, "1"), b"kept"

    given_up: list[Any] = [answering()]
    next(given_up[0])
    # A circle, as a traceback makes it.
    given_up.append(given_up)
    del given_up
    keeping = threading.Thread(target=lambda: answers.put("how", written(), age=0), daemon=True)
    keeping.start()
    keeping.join(20)
    assert not keeping.is_alive()
    assert answers.get("how", [(1, "1"), (2, "1")], age=0) == [b"given up", b"kept"]


def test_what_was_read_before_all_was_dropped_is_not_kept() -> None:
    answers = Answers()
    age = answers.age
    answers.clear()
    answers.put("how", [((1, "1"), b"of another database")], age=age)
    assert answers.get("how", [(1, "1")], age=answers.age) == [None]
    # Nor what was on its way from the older half to the newer one.
    answers.put("how", [((1, "1"), b"kept")], age=answers.age)
    answers._old, answers._new = answers._new, {}
    age, kept = answers.age, answers._old
    answers.clear()
    answers._old = kept
    answers.get("how", [(1, "1")], age=age)
    assert not answers._new
