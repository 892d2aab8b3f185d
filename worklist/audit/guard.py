"""The databases' own guard of the trail: what is written there is neither changed nor removed."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connections

_TABLES = ("audit_auditevent", "audit_seal")
_REFUSAL = "the audit trail is only added to"

_SQLITE = (
    *(
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        for table in _TABLES
        for verb in ("UPDATE", "DELETE")
    ),
)
_POSTGRES = (
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS"
    f" $$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$",
    *(
        f"CREATE OR REPLACE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE"
        f" ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
        for table in _TABLES
    ),
)


def put_up(using: str) -> None:
    """Have the database refuse to change or remove the trail's rows, whoever asks."""
    connection = connections[using]
    if not set(_TABLES) <= set(connection.introspection.table_names()):
        return  # migrated back to before them
    with connection.cursor() as cursor:
        for statement in _POSTGRES if connection.vendor == "postgresql" else _SQLITE:
            cursor.execute(statement)


def after_migrating(using: str, **_more: Any) -> None:
    """Put it up anew each time: SQLite makes some changes of a table by way of a new one."""
    if settings.AUDIT_GUARD:
        put_up(using)
