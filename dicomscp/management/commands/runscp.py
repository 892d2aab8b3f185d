"""manage.py runscp: serve the worklist to the modalities until SIGTERM or SIGINT.

In this process, or as the parent of workers that share its port.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import threading
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from dicomscp import certificates, heartbeat, notify, ports
from dicomscp.notify import Notifier
from dicomscp.server import WorklistScp, settle
from dicomscp.wire.tls import Tls
from dicomscp.workers import PULSE, Pulse, Supervisor
from worklist import database, values
from worklist.audit import happenings

logger = logging.getLogger(__name__)

# Seconds after SIGTERM: that running answers get, and after which the process is gone anyway.
DRAIN = 7.0
LAST_CALL = 9.0
# Seconds after which a thread that computes lets another one go on, such as one that has an answer
# to send: with Python's 5 ms, what the journal writes would stand in its way.
_SWITCH = 0.0005


class Command(BaseCommand):
    help = "Answer the modalities' worklist queries (C-FIND) and C-ECHO."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default=settings.DICOM_BIND, help="address to listen on")
        parser.add_argument("--port", type=int, default=settings.DICOM_PORT, help="port (11112)")
        parser.add_argument("--ae-title", default=settings.AE_TITLE, help="our AE title")
        parser.add_argument(
            "--workers",
            type=int,
            default=settings.DICOM_WORKERS,
            metavar="N",
            help="processes that serve the port; SIGHUP renews them one by one (1: this one)",
        )
        # How the parent starts a worker: its number, its pipe, the sockets that it inherits.
        parser.add_argument("--as-worker", type=int, nargs="+", help=SUPPRESS)

    def handle(self, *args: Any, bind: str, port: int, ae_title: str, **options: Any) -> None:
        as_worker: list[int] | None = options["as_worker"]
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        sys.setswitchinterval(_SWITCH)
        ae_title = ae_title.strip()
        _check_ae_title(ae_title)
        if not 0 <= port <= 65535:
            raise CommandError(f"{port} is not a port: 0 to 65535.")
        if options["workers"] < 1:
            raise CommandError("--workers is 1 or more.")
        tls = _tls(are_endings_told=as_worker is None)
        _check_database()
        if as_worker is not None:
            # The parent alone is hung up on, and knows what to make of it.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            worker, pulse, *descriptors = as_worker
            scp = _scp(ae_title, tls, ports.adopt(descriptors))
            _serve(scp, stopped, beat=Pulse(pulse).beat, worker=worker)
            os._exit(0)
        notifier = Notifier()
        sockets = _listen(bind, port, is_tls_wanted=tls is not None)
        said = f"Worklist SCP {ae_title} on {_places(bind, sockets)}, database {_database_name()}"
        about = {"ae_title": ae_title, "port": sockets[0].getsockname()[1]}
        if options["workers"] == 1:
            self._run_alone(_scp(ae_title, tls, sockets), stopped, notifier, said, about)
        else:
            self._supervise(options["workers"], ae_title, sockets, notifier, said, about)
        self._say("Worklist SCP stopped")
        os._exit(0)

    def _run_alone(
        self,
        scp: WorklistScp,
        stopped: threading.Event,
        notifier: Notifier,
        said: str,
        about: Mapping[str, Any],
    ) -> None:
        """Serve in this process until it is told to stop."""
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(signal.SIGHUP, lambda *_: stopped.set())

        def live() -> bool:
            notifier.live()
            return True

        def at_start() -> None:
            self._say(said)
            notifier.tell(notify.READY)
            happenings.program_activity("start", "runscp", **about)

        def at_stop() -> None:
            notifier.tell(notify.STOPPING)

        _serve(scp, stopped, beat=live, at_start=at_start, at_stop=at_stop)
        happenings.program_activity("stop", "runscp", **about)

    def _supervise(
        self,
        workers: int,
        ae_title: str,
        sockets: Sequence[socket.socket],
        notifier: Notifier,
        said: str,
        about: Mapping[str, Any],
    ) -> None:
        """Have workers serve until this process is told to stop."""

        def command(number: int, pulse: int) -> list[str]:
            inherited = (number, pulse, *(each.fileno() for each in sockets))
            program = [sys.executable, str(settings.BASE_DIR / "manage.py"), "runscp"]
            return [*program, "--ae-title", ae_title, "--as-worker", *map(str, inherited)]

        has_started = False

        def at_ready() -> None:
            nonlocal has_started
            has_started = True
            self._say(f"{said}, {workers} workers")
            happenings.program_activity("start", "runscp", **about)

        status = Supervisor(
            count=workers,
            command=command,
            sockets=sockets,
            cwd=settings.BASE_DIR,
            environment=os.environ,
            at_ready=at_ready,
            notifier=notifier,
        ).run()
        if status != 0:
            raise CommandError("A worker does not start: what it said stands above.")
        if has_started:
            happenings.program_activity("stop", "runscp", **about)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _scp(ae_title: str, tls: Tls | None, sockets: Sequence[socket.socket]) -> WorklistScp:
    plain, *secured = sockets
    bind, port = plain.getsockname()[:2]
    return WorklistScp(
        ae_title=ae_title,
        bind=bind,
        port=port,
        tls=tls,
        listening=plain,
        tls_listening=secured[0] if secured else None,
    )


def _serve(
    scp: WorklistScp,
    stopped: threading.Event,
    *,
    beat: Callable[[], bool],
    worker: int = 0,
    at_start: Callable[[], None] = lambda: None,
    at_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until stopped, or until `beat`, called again and again, says that nobody listens."""
    scp.start()
    settle()
    at_start()
    with heartbeat.beating(scp, worker=worker):
        while not stopped.is_set():
            # What accepts no connection gives no sign of life.
            if scp.is_accepting and not beat():
                break
            stopped.wait(PULSE)
        at_stop()
        # A thread that hangs in a peer's half-sent message must not keep the process.
        last_call = threading.Timer(LAST_CALL, os._exit, (0,))
        last_call.daemon = True
        last_call.start()
        scp.stop(drain=DRAIN)


def _listen(bind: str, port: int, *, is_tls_wanted: bool) -> list[socket.socket]:
    """The sockets to serve, the one that wants TLS behind the other: systemd's, or our own."""
    places = [port, settings.DICOM_TLS_PORT] if is_tls_wanted else [port]
    sockets = ports.inherited()
    if len(sockets) > len(places):
        raise CommandError(
            f"systemd hands over {len(sockets)} sockets, and there is use for {len(places)}: "
            "the first is without TLS, the second for DICOM_TLS_PORT."
        )
    for each in places[len(sockets) :]:
        try:
            sockets.append(ports.listen(bind, each))
        except OSError as error:
            raise CommandError(_why_not(error, bind, each)) from None
    return sockets


def _places(bind: str, sockets: Sequence[socket.socket]) -> str:
    plain, *secured = [f"{bind}:{each.getsockname()[1]}" for each in sockets]
    return f"{plain} and with TLS on {secured[0]}" if secured else plain


def _tls(*, are_endings_told: bool) -> Tls | None:
    try:
        tls = certificates.server()
        for ending in certificates.endings():
            if ending.is_soon and are_endings_told:
                logger.warning(
                    "TLS certificate of %s ends on %s, days left: %d (%s)",
                    ending.setting,
                    ending.ends.date(),
                    ending.days,
                    ending.subject,
                )
    except certificates.SettingsError as error:
        raise CommandError(str(error)) from None
    return tls


def _check_ae_title(ae_title: str) -> None:
    try:
        if not ae_title.strip():
            raise ValueError("it is empty")
        values.check_text(ae_title.strip(), "AE")
    except ValueError as error:
        raise CommandError(f"{ae_title!r} cannot be an AE title: {error}.") from None


def _check_database() -> None:
    try:
        missing = database.missing_migrations()
    except Error as error:
        first_line = str(error).strip().splitlines()[0]
        raise CommandError(
            f"The database {_database_name()} cannot be read: {first_line}"
        ) from None
    finally:
        connection.close()
    if missing:
        raise CommandError(
            f"The database {_database_name()} lacks {missing} migration(s): "
            "run manage.py migrate first."
        )


def _database_name() -> str:
    """The database in words, without user and password."""
    config = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"SQLite {config['NAME']}"
    where = f"{config['HOST'] or 'local'}{':' + str(config['PORT']) if config['PORT'] else ''}"
    return f"PostgreSQL {config['NAME']} at {where}"


def _why_not(error: OSError, bind: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        holder = ports.holder(port)
        by = f" by {holder}" if holder else ": another program listens there, or runscp runs"
        return f"Port {port} on {bind} is taken{by}."
    if error.errno == errno.EACCES:
        return f"Port {port} may not be opened by this user: choose one above 1023."
    return f"{bind}:{port} cannot be listened on: {error.strerror or error}."
