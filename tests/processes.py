"""`manage.py runscp` as a process of its own."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import tools
from worklist.audit.models import AuditEvent

ROOT = Path(__file__).resolve().parent.parent
STARTS_WITHIN = 20.0  # seconds; 3 on a machine with nothing else to do
STOPS_WITHIN = 10.0

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def runscp(transactional_db: None) -> Iterator[Start]:
    """Start `manage.py runscp` on the test's database, or on another."""
    started = []

    def start(*options: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runscp", "--bind", "127.0.0.1", *options],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": tools.database_url(),
                "DJANGO_SETTINGS_MODULE": "worklist.settings",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        assert waiting.select(STARTS_WITHIN), "runscp says nothing"
    return process.stdout.readline()


def refusal(process: subprocess.Popen[str]) -> str:
    """What a runscp that does not start says last."""
    out, err = process.communicate(timeout=STARTS_WITHIN)
    assert (process.returncode, out) == (1, "")
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


def signed_activity() -> list[str]:
    events = AuditEvent.objects.filter(actor="runscp").order_by("pk")
    return list(events.values_list("action", flat=True))
