"""Further databases beside the test's own, on the same PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection
from psycopg import sql

from tests import tools


def where() -> dict[str, Any]:
    """How to reach that PostgreSQL, but for the database."""
    config = connection.settings_dict
    named = {
        "host": config["HOST"],
        "port": config["PORT"],
        "user": config["USER"],
        "password": config["PASSWORD"],
    }
    return {name: value for name, value in named.items() if value}


@contextmanager
def empty() -> Iterator[str]:
    """The DATABASE_URL of a database without a table; it is gone afterwards."""
    name = f"copy_{uuid.uuid4().hex}"
    with psycopg.connect(**where(), dbname="postgres", autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield tools.database_url().rpartition("/")[0] + f"/{name}"
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
