"""The database as a whole: which one it is, how large, and whether its tables are up to date."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder


@dataclass(frozen=True)
class Database:
    """What answers: "PostgreSQL 16.4", and how many bytes it takes up."""

    name: str
    size: int


def read() -> Database:
    """The database that answers now, in one statement. Raises Error when none does."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "SELECT sqlite_version(), page_count * page_size"
                " FROM pragma_page_count(), pragma_page_size()"
            )
            kind = "SQLite"
        else:
            cursor.execute(
                "SELECT current_setting('server_version'), pg_database_size(current_database())"
            )
            kind = "PostgreSQL"
        version, size = cursor.fetchone()
    # Debian writes its own version behind it, in parentheses.
    return Database(f"{kind} {str(version).partition(' ')[0]}", int(size))


def missing_migrations() -> int:
    """How many migrations of this program were not applied. Raises Error without a database."""
    return len(_known() - MigrationRecorder(connection).applied_migrations().keys())


@cache
def _known() -> frozenset[tuple[str, str]]:
    """Those that the program brings: its files do not change while it runs."""
    return frozenset(MigrationLoader(None).disk_migrations)
