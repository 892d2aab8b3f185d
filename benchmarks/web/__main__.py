"""Start PostgreSQL, fill it, start gunicorn as in production, sign in, ask, print a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.web.browser import Browser
from benchmarks.web.measures import MEASURES, Measure, Result, Site, UnexpectedError
from worklist import children

ROOT = Path(__file__).resolve().parent.parent.parent
ACCOUNT = "benchmark"
READY_WITHIN = 60.0  # seconds


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    prepare_environment(options.database)
    if not options.keep:
        manage("migrate", "--verbosity=0")
        numbers = (str(options.steps), f"--today={options.today}")
        manage("synthesize", *numbers, f"--patients={options.patients}", "--force")
    manage("collectstatic", "--no-input", "--verbosity=0")

    import django

    django.setup()
    from benchmarks.web.site import account, site

    password = secrets.token_urlsafe(16)
    account(ACCOUNT, password)
    port = free_port()
    server = children.start(gunicorn(port, options.threads), cwd=ROOT, environment=os.environ)
    try:
        wait_for(server, port)
        browser = Browser("127.0.0.1", port)
        browser.sign_in(ACCOUNT, password)
        results = [measured(each, browser, site(), options.requests) for each in MEASURES]
    finally:
        children.stop([server], within=10)
    report(results, options)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.web", description=__doc__)
    made.add_argument("--steps", type=int, default=1_000_000)
    made.add_argument("--today", type=int, default=500, help="steps of the day (500)")
    made.add_argument("--patients", type=int, default=300_000)
    made.add_argument("--requests", type=int, default=200, help="of each kind (200)")
    made.add_argument("--threads", type=int, default=8, help="of gunicorn's one worker (8)")
    made.add_argument(
        "--database",
        default="",
        help="URL of a PostgreSQL database that may be filled; default: a throw-away server",
    )
    made.add_argument("--keep", action="store_true", help="the database is filled already")
    return made


def prepare_environment(database: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "worklist.settings"
    os.environ["DATABASE_URL"] = database or throw_away()
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    os.environ |= {"DEBUG": "0", "HTTPS": "0", "LOG_LEVEL": "WARNING"}
    os.environ["ALLOWED_HOSTS"] = "127.0.0.1"


def throw_away() -> str:
    from tests import postgres

    url = postgres.start()
    folder = url.partition("@/")[2].rpartition("/")[0]
    with psycopg.connect(
        host=folder, user=postgres.USER, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {postgres.USER}")
    return url


def manage(*words: str) -> None:
    subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, check=True)


def gunicorn(port: int, threads: int) -> list[str]:
    return [
        *(sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", str(threads)),
        # A busy machine may take longer between two requests than gunicorn waits by default.
        *("--keep-alive", "60"),
        *("--no-control-socket", "--log-level", "warning", "worklist.wsgi"),
    ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            opener.open(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"gunicorn does not answer: {error}") from error
            time.sleep(0.1)
        else:
            return


def measured(measure: Measure, browser: Browser, about: Site, requests: int) -> Result:
    from django.urls import NoReverseMatch, reverse

    try:
        path = reverse(measure.name)
        once = measure.prepare(browser, path, about)
        for number in range(min(10, requests)):  # caches fill, connections open
            once(number)
        times = tuple(once(number) for number in range(requests))
    except NoReverseMatch:
        return Result(measure.label, measure.aim, note=f"no address is named {measure.name!r}")
    except UnexpectedError as error:
        return Result(measure.label, measure.aim, note=str(error))
    return Result(measure.label, measure.aim, times)


def report(results: Sequence[Result], options: Any) -> None:
    """A table for people, and one line of JSON for what compares runs."""
    print(f"\n{'':20} {'median ms':>10} {'p99 ms':>10} {'aim ms':>8}")
    for result in results:
        if result.note:
            print(f"{result.label:20} not measured: {result.note}")
        else:
            print(
                f"{result.label:20} {result.median:10.1f} {result.p99:10.1f} {result.aim:8.0f}"
                f"{'' if result.median <= result.aim else '   over'}"
            )
    numbers = {
        result.label: {"note": result.note}
        if result.note
        else {"median": round(result.median, 2), "p99": round(result.p99, 2), "aim": result.aim}
        for result in results
    }
    about = {name: getattr(options, name) for name in ("steps", "today", "patients", "requests")}
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"benchmark": "web", **about, **machine, "results": numbers}))


if __name__ == "__main__":
    main()
