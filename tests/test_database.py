"""How the databases are set: what holds on every connection of ours."""

from __future__ import annotations

import pytest
from django.db import connection

from tests import tools

pytestmark = pytest.mark.django_db


@tools.needs("postgres")
def test_no_query_waits_for_a_compiler() -> None:
    """A fresh database has no statistics: its guesses are high enough to compile a small join."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW jit")
        assert cursor.fetchone() == ("off",)
