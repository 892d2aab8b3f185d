"""The settings of a test run: choose its database, then take all else from `worklist.settings`.

pytest-django reads the settings before any conftest.py is read, so a server that the run needs
starts here, once: pytest's workers and whatever a test starts inherit DATABASE_URL.

WORKLIST_TEST_DB says which database: sqlite, postgres, or (unset) PostgreSQL where it can be had.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests import postgres
from tests.tools import is_required


def choose_database() -> tuple[str, str]:
    """Return the run's DATABASE_URL and, when it is SQLite for want of PostgreSQL, the reason."""
    wanted = os.environ.get("WORKLIST_TEST_DB", "")
    given = os.environ.get("DATABASE_URL", "")
    if given and given.startswith(wanted):
        return given, ""
    if wanted == "sqlite":
        return throw_away_sqlite(), ""
    try:
        return postgres.start(), ""
    except postgres.CannotStartError as error:
        if wanted == "postgres" or is_required("postgres"):
            raise SystemExit(
                f"The tests are to run on PostgreSQL. It did not start: {error}"
            ) from error
        return throw_away_sqlite(), str(error)


def throw_away_sqlite() -> str:
    """Return the URL of a file in a folder that goes when this process ends.

    A file, since a process that a test starts sees nothing of a database in memory.
    """
    return f"sqlite:///{folder_of_the_run('sqlite')}/worklist.sqlite3"


def folder_of_the_run(purpose: str) -> str:
    """Make a folder that goes when this process ends."""
    folder = tempfile.mkdtemp(prefix=f"worklist-{purpose}-")
    atexit.register(remove, folder, made_by=os.getpid())
    return folder


def remove(folder: str, *, made_by: int) -> None:
    """Remove the folder, unless this is a forked copy of the process that made it."""
    if made_by == os.getpid():
        shutil.rmtree(folder, ignore_errors=True)


os.environ["DATABASE_URL"], SQLITE_BECAUSE = choose_database()
# Where pytest's workers find what one of them has made for all.
if "WORKLIST_TEST_FOLDER" not in os.environ:
    os.environ["WORKLIST_TEST_FOLDER"] = folder_of_the_run("tests")
os.environ["SECRET_KEY"] = "known to all, for the tests alone, and long enough for every check"
# The tests of who may call set this themselves; a server that a test starts inherits it.
os.environ["DICOM_ACCESS"] = "any"
for operators_own in (
    "DICOM_TLS_PORT",
    "DATABASE_URL_FILE",
    "DATABASE_REPLICA_URL",
    "SECRET_KEY_FILE",
):
    os.environ.pop(operators_own, None)

from worklist.settings import *  # noqa: E402, F403
from worklist.settings import DATABASES, STORAGES  # noqa: E402

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["TEST"] = {
        "NAME": Path(DATABASES["default"]["NAME"]).with_name("test.sqlite3")
    }

# The slow hasher would take most of the run for passwords that are no secret.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# The one for production wants collectstatic first.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
# Nothing is collected: each test client would look through all of it.
STATIC_ROOT = Path(os.environ["WORKLIST_TEST_FOLDER"]) / "static"
STATIC_ROOT.mkdir(exist_ok=True)
# The tests' rows are taken away after each of them.
AUDIT_GUARD = False
