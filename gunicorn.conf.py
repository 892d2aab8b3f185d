"""What gunicorn reads from the folder that it starts in: the web's start and stop are signed."""

from __future__ import annotations

import os
from typing import Any


def when_ready(server: Any) -> None:
    """The port is open and no worker runs yet: a connection to the database is not shared."""
    _sign("start")


def on_exit(server: Any) -> None:
    _sign("stop")


def _sign(action: str) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "worklist.settings")
    django.setup()
    from worklist.audit import happenings

    happenings.program_activity(action, "web")
