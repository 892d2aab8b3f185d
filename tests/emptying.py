"""After a test that writes for good the database is emptied of what it has left, and no more.

Django's own way empties every table and makes permissions and roles anew, which takes longer than
most of the tests.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections, transaction

from worklist import shared

# What a migration makes, and few tests touch.
_MADE: tuple[Any, ...] = (Group, Permission, ContentType, Group.permissions.through)
_made: dict[str, list[Any]] = {}


def begin(using: str) -> None:
    """Empty a database that has just been migrated, which signs what it makes."""
    _made[using] = _rows_of_migrations(using)
    _empty_others(using)


def empty(using: str) -> None:
    """Take away all rows but those that a migration has made; these, too, once one is another."""
    if _rows_of_migrations(using) != _made[using]:
        call_command("flush", verbosity=0, interactive=False, database=using)
        _made[using] = _rows_of_migrations(using)
    _empty_others(using)


def hang_up(using: str) -> None:
    """End the sessions of threads that are about to end, or the database would be in use."""
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


def _empty_others(using: str) -> None:
    connection = connections[using]
    quote = connection.ops.quote_name
    tables = _other_tables(using)
    looks = (
        f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {quote(table)})"
        for number, table in enumerate(tables)
    )
    # Their keys are looked at when the transaction ends, so that any order will do.
    with transaction.atomic(using=using), connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(looks))
        for (number,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {quote(tables[number])}")
    shared.begin(using)


def _rows_of_migrations(using: str) -> list[Any]:
    return [sorted(model._default_manager.using(using).values_list()) for model in _MADE]


@cache
def _other_tables(using: str) -> list[str]:
    names = connections[using].introspection.django_table_names(only_existing=True)
    return sorted(set(names) - {model._meta.db_table for model in _MADE})
