"""What the database keeps twice, so that scanners find exams by one index each: with a step its
patient's name, instead of a way through the orders of many years; on PostgreSQL with a step's
station its day and its status as well.

The database writes it, whoever writes what is copied. Where its triggers are missing they are put
up after a migration, and what was written without them is mended.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

_STEP = "worklist_scheduledprocedurestep"
_PROCEDURE = "worklist_requestedprocedure"
_REQUEST = "worklist_imagingservicerequest"
_PATIENT = "worklist_patient"
_COLUMN = "patient_name_folded"
_STATION = "worklist_stepstation"

_ABOVE = (
    f"FROM {_PROCEDURE} p JOIN {_REQUEST} r ON r.id = p.request_id"
    f" JOIN {_PATIENT} who ON who.id = r.patient_id"
)
# Of the step at hand. What hangs on nothing yet is mended once it does (`mend`).
_NAME = f"coalesce((SELECT who.name_folded {_ABOVE} WHERE p.id = %s.requested_procedure_id), '')"
_DIFFERS = f"{_COLUMN} <> {_NAME % _STEP}"

# The steps below a row that has changed.
_BELOW = {
    _PATIENT: f"SELECT p.id FROM {_PROCEDURE} p JOIN {_REQUEST} r ON r.id = p.request_id"
    " WHERE r.patient_id = NEW.id",
    _REQUEST: f"SELECT id FROM {_PROCEDURE} WHERE request_id = NEW.id",
    _PROCEDURE: "SELECT NEW.id",
}
# What, once it is another, gives steps another name.
_CHANGES = {_PATIENT: "name_folded", _REQUEST: "patient_id", _PROCEDURE: "request_id"}

_SQLITE = {
    "worklist_step_named": (
        f"AFTER INSERT ON {_STEP} BEGIN"
        f" UPDATE {_STEP} SET {_COLUMN} = {_NAME % 'NEW'} WHERE id = NEW.id; END"
    ),
    "worklist_step_renamed": (
        f"AFTER UPDATE OF requested_procedure_id, {_COLUMN} ON {_STEP}"
        f" WHEN NEW.{_COLUMN} IS NOT {_NAME % 'NEW'} BEGIN"
        f" UPDATE {_STEP} SET {_COLUMN} = {_NAME % 'NEW'} WHERE id = NEW.id; END"
    ),
    **{
        f"{table}_renames": (
            f"AFTER UPDATE OF {column} ON {table} WHEN OLD.{column} IS NOT NEW.{column} BEGIN"
            f" UPDATE {_STEP} SET {_COLUMN} = {_NAME % _STEP}"
            f" WHERE requested_procedure_id IN ({_BELOW[table]}); END"
        )
        for table, column in _CHANGES.items()
    },
}

# A patient who is being renamed is waited for, and waits. Patients come first among what is locked,
# and who moves an order holds them: so the order may have another by the time that they are locked.
_NAMED = f"""
DECLARE
    found bigint;
BEGIN
    LOOP
        SELECT r.patient_id INTO found FROM {_PROCEDURE} p JOIN {_REQUEST} r ON r.id = p.request_id
            WHERE p.id = NEW.requested_procedure_id;
        SELECT name_folded INTO NEW.{_COLUMN} FROM {_PATIENT} WHERE id = found FOR SHARE;
        EXIT WHEN found IS NOT DISTINCT FROM (
            SELECT r.patient_id FROM {_PROCEDURE} p JOIN {_REQUEST} r ON r.id = p.request_id
            WHERE p.id = NEW.requested_procedure_id);
    END LOOP;
    NEW.{_COLUMN} := coalesce(NEW.{_COLUMN}, '');
    RETURN NEW;
END"""
# A step that is being moved is waited for, and waits.
_DATED = f"""
BEGIN
    SELECT start_date, status INTO NEW.start_date, NEW.status FROM {_STEP}
        WHERE id = NEW.step_id FOR SHARE;
    NEW.status := coalesce(NEW.status, '');
    RETURN NEW;
END"""
_REDATES = f"""
BEGIN
    UPDATE {_STATION} SET start_date = NEW.start_date, status = NEW.status WHERE step_id = NEW.id;
    RETURN NULL;
END"""
# NULL is never stored: it is another value than the one there, and so has that found anew. What is
# locked is locked in the order in which the trail does it.
_RENAMES = {
    _PATIENT: f"PERFORM 1 FROM {_REQUEST} WHERE patient_id = NEW.id ORDER BY id FOR UPDATE;"
    f" PERFORM 1 FROM {_PROCEDURE} WHERE id IN ({_BELOW[_PATIENT]}) ORDER BY id FOR UPDATE;",
    _REQUEST: f"PERFORM 1 FROM {_PATIENT} WHERE id IN (OLD.patient_id, NEW.patient_id)"
    " ORDER BY id FOR UPDATE;"
    f" PERFORM 1 FROM {_PROCEDURE} WHERE request_id = NEW.id ORDER BY id FOR UPDATE;",
    _PROCEDURE: f"PERFORM 1 FROM {_PATIENT} WHERE id IN (SELECT patient_id FROM {_REQUEST}"
    " WHERE id IN (OLD.request_id, NEW.request_id)) ORDER BY id FOR UPDATE;",
}
_FUNCTIONS = {
    "worklist_step_named": _NAMED,
    "worklist_stepstation_dated": _DATED,
    f"{_STEP}_redates": _REDATES,
    **{
        f"{table}_renames": f"BEGIN {locks} UPDATE {_STEP} SET {_COLUMN} = NULL"
        f" WHERE requested_procedure_id IN ({_BELOW[table]}); RETURN NULL; END"
        for table, locks in _RENAMES.items()
    },
}
_POSTGRES = {
    "worklist_step_named": (
        f"BEFORE INSERT ON {_STEP} FOR EACH ROW EXECUTE FUNCTION worklist_step_named()"
    ),
    # Not at every save of a step, which would lock its patient behind it.
    "worklist_step_renamed": (
        f"BEFORE UPDATE OF requested_procedure_id, {_COLUMN} ON {_STEP} FOR EACH ROW"
        f" WHEN ((OLD.requested_procedure_id, OLD.{_COLUMN})"
        f" IS DISTINCT FROM (NEW.requested_procedure_id, NEW.{_COLUMN}))"
        " EXECUTE FUNCTION worklist_step_named()"
    ),
    **{
        f"{table}_renames": (
            f"AFTER UPDATE OF {column} ON {table} FOR EACH ROW"
            f" WHEN (OLD.{column} IS DISTINCT FROM NEW.{column})"
            f" EXECUTE FUNCTION {table}_renames()"
        )
        for table, column in _CHANGES.items()
    },
    "worklist_stepstation_dated": (
        f"BEFORE INSERT ON {_STATION} FOR EACH ROW EXECUTE FUNCTION worklist_stepstation_dated()"
    ),
    "worklist_stepstation_redated": (
        f"BEFORE UPDATE OF step_id, start_date, status ON {_STATION} FOR EACH ROW"
        " WHEN ((OLD.step_id, OLD.start_date, OLD.status)"
        " IS DISTINCT FROM (NEW.step_id, NEW.start_date, NEW.status))"
        " EXECUTE FUNCTION worklist_stepstation_dated()"
    ),
    f"{_STEP}_redates": (
        f"AFTER UPDATE OF start_date, status ON {_STEP} FOR EACH ROW"
        " WHEN ((OLD.start_date, OLD.status) IS DISTINCT FROM (NEW.start_date, NEW.status))"
        f" EXECUTE FUNCTION {_STEP}_redates()"
    ),
}


def after_migrating(using: str, **_more: Any) -> None:
    """Put up what is missing: SQLite makes some changes of a table by way of a new one."""
    connection = connections[using]
    with connection.cursor() as cursor:
        introspection = connection.introspection
        for table, column in ((_STEP, _COLUMN), (_STATION, "start_date")):
            if table not in introspection.table_names(cursor):
                return
            columns = introspection.get_table_description(cursor, table)
            if column not in {each.name for each in columns}:
                return  # migrated back to before it
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
            if connection.vendor == "postgresql"
            else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        )
        there = {name for (name,) in cursor.fetchall()}
    wanted = _POSTGRES if connection.vendor == "postgresql" else _SQLITE
    if not wanted.keys() <= there:
        put_up(using)
        mend(using)


def put_up(using: str) -> None:
    """Have the database write the names, in place of what it may do so by now."""
    connection = connections[using]
    is_postgres = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if is_postgres:
            for name, body in _FUNCTIONS.items():
                cursor.execute(
                    f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
                    f" AS $${body}$$"
                )
        for name, told in (_POSTGRES if is_postgres else _SQLITE).items():
            table = told.partition(" ON ")[2].partition(" ")[0]
            on = f" ON {table}" if is_postgres else ""
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on}")
            cursor.execute(f"CREATE TRIGGER {name} {told}")


_DATES_DIFFER = (
    f"FROM {_STEP} step WHERE step.id = {_STATION}.step_id AND (step.start_date, step.status)"
    f" IS DISTINCT FROM ({_STATION}.start_date, {_STATION}.status)"
)


def differing(using: str) -> int:
    """How many rows differ from what they copy: none."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {_STEP} WHERE {_DIFFERS}")
        count = int(cursor.fetchone()[0])
        if connection.vendor == "postgresql":
            cursor.execute(
                f"SELECT count(*) FROM {_STATION} WHERE EXISTS (SELECT 1 {_DATES_DIFFER})"
            )
            count += int(cursor.fetchone()[0])
    return count


def mend(using: str) -> int:
    """Write these anew, and say how many there were."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {_STEP} SET {_COLUMN} = {_NAME % _STEP} WHERE {_DIFFERS}")
        count = int(cursor.rowcount)
        if connection.vendor == "postgresql":
            cursor.execute(
                f"UPDATE {_STATION} SET start_date = step.start_date, status = step.status"
                f" {_DATES_DIFFER}"
            )
            count += int(cursor.rowcount)
    return count
