#!/usr/bin/env python3
"""Django's command line. `demo` and `test` bring their own packages; no other command does."""

from __future__ import annotations

import os
import sys

import bootstrap

# An administrator who types "migrate" on a server must never get a surprise environment.
BRINGS = {
    "demo": ["requirements.txt"],
    "test": ["requirements.txt", "requirements-dev.txt"],
}


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    bootstrap.check_python()
    if command in BRINGS:
        bootstrap.ensure(*BRINGS[command])
    bootstrap.check_django(command)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "worklist.settings")

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
