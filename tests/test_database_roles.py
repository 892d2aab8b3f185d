"""The database role that web and DICOM server may connect as, by deploy/roles.sql."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from tests import image, postgres_copies
from tests.test_restore import Kept
from tests.tools import needs

RIGHTS = (image.ROOT / "deploy" / "roles.sql").read_text("utf-8")


@contextmanager
def role_of(database: str) -> Iterator[str]:
    """A role with the rights of the file in this database; roles are those of the whole server."""
    name = f"app_{uuid.uuid4().hex}"
    where = postgres_copies.where()
    role = sql.Identifier(name)
    with psycopg.connect(**where, dbname=database, autocommit=True) as owner:
        # The owner's password, where there is one, leads in.
        password = sql.Literal(where.get("password", "unused"))
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
        try:
            owner.execute(RIGHTS.replace("worklist_app", name).encode())
            yield name
        finally:
            owner.execute(sql.SQL("DROP OWNED BY {}").format(role))
            owner.execute(sql.SQL("DROP ROLE {}").format(role))


@needs("postgres")
@pytest.mark.timeout(300)
def test_the_programs_run_as_a_role_that_only_adds_to_the_trail(db: None) -> None:
    with postgres_copies.empty() as url:
        Kept(url).manage("manage.py migrate --no-input")
        database = url.rpartition("/")[2]
        with role_of(database) as role:
            programs = Kept(re.sub(r"//\w+((:[^@]*)?@)", rf"//{role}\1", url))
            # Books, signs, seals, deletes: all that the programs do.
            programs.manage("manage.py loaddemo")
            assert "all as they were written" in programs.manage("manage.py verify_audit")
            assert "deleted" in programs.manage("manage.py purge")
            refused = (
                "UPDATE audit_auditevent SET actor = 'nobody'",
                "DELETE FROM audit_auditevent",
                "TRUNCATE audit_seal",
                "ALTER TABLE audit_auditevent DISABLE TRIGGER ALL",
                "DROP TRIGGER audit_auditevent_no_change ON audit_auditevent",
                "CREATE TABLE public.mine (id int)",
                "DELETE FROM django_migrations",
            )
            where = {**postgres_copies.where(), "user": role}
            with psycopg.connect(**where, dbname=database, autocommit=True) as program:
                assert program.execute("SELECT count(*) FROM audit_auditevent").fetchone() != (0,)
                for statement in refused:
                    with pytest.raises(InsufficientPrivilege):
                        program.execute(statement.encode())
