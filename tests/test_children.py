from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worklist import children

ROOT = Path(__file__).resolve().parent.parent
# A parent with one child. Both hold the pipe's far end open: it closes when the last of them ends.
PARENT = """
import os, signal, sys
from pathlib import Path
from worklist import children
up = "import signal; print('up', flush=True); signal.pause()"
children.start([sys.executable, "-c", up], cwd=Path.cwd(), environment=os.environ)
signal.pause()
"""
IGNORES_TERM = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
        assert parent.stdout.read() == b""


def test_a_child_that_does_not_stop_is_ended_by_force(capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", IGNORES_TERM]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        children.stop([child], within=0.01)
        assert child.returncode == -signal.SIGKILL


def test_the_first_child_to_end_is_told_with_its_status() -> None:
    child = children.start(["sh", "-c", "exit 3"], cwd=ROOT, environment=os.environ)
    assert children.wait_for_first_end() == (child.pid, 3)
    # The status was taken above; without this the object would look for it and warn.
    child.returncode = 3
