"""manage.py runscp: serve the worklist to the modalities until SIGTERM or SIGINT."""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections
from django.db.migrations.executor import MigrationExecutor

from dicomscp import certificates
from dicomscp.server import PortError, WorklistScp, settle
from worklist import values
from worklist.audit import happenings

logger = logging.getLogger(__name__)

# Seconds after SIGTERM: that running answers get, and after which the process is gone anyway.
DRAIN = 7.0
LAST_CALL = 9.0


class Command(BaseCommand):
    help = "Answer the modalities' worklist queries (C-FIND) and C-ECHO."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default=settings.DICOM_BIND, help="address to listen on")
        parser.add_argument("--port", type=int, default=settings.DICOM_PORT, help="port (11112)")
        parser.add_argument("--ae-title", default=settings.AE_TITLE, help="our AE title")

    def handle(self, *args: Any, bind: str, port: int, ae_title: str, **options: Any) -> None:
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        _check_ae_title(ae_title)
        if not 0 <= port <= 65535:
            raise CommandError(f"{port} is not a port: 0 to 65535.")
        try:
            tls = certificates.server()
            for ending in certificates.endings():
                if ending.is_soon:
                    logger.warning(
                        "TLS certificate of %s ends on %s, days left: %d (%s)",
                        ending.setting,
                        ending.ends.date(),
                        ending.days,
                        ending.subject,
                    )
        except certificates.SettingsError as error:
            raise CommandError(str(error)) from None
        _check_database()
        scp = WorklistScp(
            ae_title=ae_title.strip(),
            bind=bind,
            port=port,
            tls=tls,
            tls_port=settings.DICOM_TLS_PORT,
        )
        try:
            scp.start()
        except PortError as error:
            raise CommandError(_why_not(error)) from None
        settle()
        secured = f" and with TLS on {bind}:{scp.tls_port}" if tls else ""
        self.stdout.write(
            f"Worklist SCP {ae_title.strip()} on {bind}:{scp.port}{secured}, "
            f"database {_database_name()}"
        )
        self.stdout.flush()
        with happenings.running("runscp", ae_title=ae_title.strip(), port=scp.port):
            stopped.wait()
            # A thread that hangs in a peer's half-sent message must not keep the process.
            last_call = threading.Timer(LAST_CALL, os._exit, (0,))
            last_call.daemon = True
            last_call.start()
            scp.stop(drain=DRAIN)
        self.stdout.write("Worklist SCP stopped")
        self.stdout.flush()
        os._exit(0)


def _check_ae_title(ae_title: str) -> None:
    try:
        if not ae_title.strip():
            raise ValueError("it is empty")
        values.check_text(ae_title.strip(), "AE")
    except ValueError as error:
        raise CommandError(f"{ae_title!r} cannot be an AE title: {error}.") from None


def _check_database() -> None:
    try:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error as error:
        first_line = str(error).strip().splitlines()[0]
        raise CommandError(
            f"The database {_database_name()} cannot be read: {first_line}"
        ) from None
    finally:
        connection.close()
    if missing:
        raise CommandError(
            f"The database {_database_name()} lacks {len(missing)} migration(s): "
            "run manage.py migrate first."
        )


def _database_name() -> str:
    """The database in words, without user and password."""
    config = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"SQLite {config['NAME']}"
    where = f"{config['HOST'] or 'local'}{':' + str(config['PORT']) if config['PORT'] else ''}"
    return f"PostgreSQL {config['NAME']} at {where}"


def _why_not(error: PortError) -> str:
    bind, port = error.bind, error.port
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {bind} is taken: another program listens there, or runscp runs."
    if error.errno == errno.EACCES:
        return f"Port {port} may not be opened by this user: choose one above 1023."
    return f"{bind}:{port} cannot be listened on: {error.strerror or error}."
