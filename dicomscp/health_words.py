"""How the broker is, in words: a line for each part of it, and what to do where it is not well."""

from __future__ import annotations

import datetime as dt
import enum
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import django
from django.conf import settings
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from dicomscp import certificates
from dicomscp.health import Certificate, Health
from dicomscp.heartbeat import Process
from dicomscp.replica import State as Replica
from worklist.version import VERSION

# Percent of the disk, and days to a certificate's end, from which it is told, and is urgent.
_DISK = (80, 95)
_DAYS = (certificates.SOON, 10)
# How long events may wait for the collector before its sender is looked at.
_SENT_WITHIN = dt.timedelta(minutes=5)
START = "python manage.py runscp"
MIGRATE = "python manage.py migrate"
SEND = "python manage.py send_audit"


class State(enum.StrEnum):
    """How a part of the broker is."""

    GOOD = "good"
    SOON = "soon"
    BAD = "bad"


@dataclass(frozen=True)
class Line:
    """A part of the broker: how it is, and what to do; `page` is the name of where that is done."""

    state: State
    name: str
    text: str
    advice: str = ""
    command: str = ""
    page: str = ""


def lines(health: Health) -> list[Line]:
    """Every part, in the language of now."""
    return [
        Line(State.GOOD, _("Web"), _("Version %(version)s") % {"version": VERSION}),
        *_server(health),
        _database(health),
        _disk(health),
        *map(_certificate, health.certificates),
        *_audit(health),
        *_mode(health),
    ]


def short(span: dt.timedelta | None) -> str:
    """A length of time as people say it: 3 s, 5 min, 2 h 10 min, 6 d 3 h."""
    seconds = round(span.total_seconds()) if span is not None else 0
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return _("%(days)d d %(hours)d h") % {"days": days, "hours": hours % 24}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes % 60}
    if minutes:
        return _("%(minutes)d min") % {"minutes": minutes}
    return _("%(seconds)d s") % {"seconds": seconds}


def _server(health: Health) -> Iterator[Line]:
    name = _("DICOM server")
    if not health.processes:
        text = _("It is not running, and never was.")
        yield Line(State.BAD, name, text, _("Start it:"), START)
    for process in health.processes:
        yield _running(name, process) if process.is_alive else _stopped(name, process)
        if process.is_alive and process.row.replica:
            yield _replica(process.row.replica)


def _running(name: str, process: Process) -> Line:
    row = process.row
    if row.worker:
        name = _("DICOM server, worker %(number)d") % {"number": row.worker}
    values = {
        "title": row.ae_title,
        "port": row.port,
        "tls_port": row.tls_port,
        "up": short(process.up),
        "ago": short(process.age),
        "associations": ngettext(
            "%(count)d association open", "%(count)d associations open", row.associations
        )
        % {"count": row.associations},
    }
    text = (
        _(
            "%(title)s on port %(port)d, with TLS on %(tls_port)d, up %(up)s, %(associations)s, "
            "heartbeat %(ago)s ago"
        )
        if row.tls_port
        else _("%(title)s on port %(port)d, up %(up)s, %(associations)s, heartbeat %(ago)s ago")
    ) % values
    lost = row.dropped + row.unsigned
    if not lost:
        return Line(State.GOOD, name, text)
    told = ngettext(
        "%(text)s. %(count)d entry of the journal or the audit trail was lost since its start.",
        "%(text)s. %(count)d entries of the journal or the audit trail were lost since its start.",
        lost,
    ) % {"text": text, "count": lost}
    advice = _("The database was away, or too slow: the log of the server says when.")
    return Line(State.SOON, name, told, advice)


def _stopped(name: str, process: Process) -> Line:
    row = process.row
    values = {"title": row.ae_title, "port": row.port, "ago": short(process.age), "host": row.host}
    text = (
        _("%(title)s on port %(port)d is not running: it was stopped %(ago)s ago on %(host)s")
        if row.stopped
        else _("%(title)s on port %(port)d is not running: last heard of %(ago)s ago on %(host)s")
    )
    return Line(State.BAD, name, text % values, _("Start it:"), START)


def _replica(told: dict[str, Any]) -> Line:
    """The replica as a process of the server sees it."""
    behind = told["behind"]
    values = {
        "behind": _("unknown") if behind is None else short(dt.timedelta(seconds=behind)),
        "limit": short(dt.timedelta(seconds=settings.DATABASE_REPLICA_LAG)),
    }
    name = _("Replica")
    if told["state"] == Replica.READ:
        text = _("Queries are read from it; what it shows is %(behind)s old at most")
        return Line(State.GOOD, name, text % values)
    text, advice = {
        Replica.AWAY: (
            _("It does not answer: queries are read from the primary"),
            _("Start it, and see that this server reaches it."),
        ),
        Replica.BEHIND: (
            _("It is behind (%(behind)s): queries are read from the primary"),
            _("It is to be %(limit)s behind at most. See that it receives and replays the log."),
        ),
        Replica.NO_REPLICA: (
            _("It is no replica of the database: queries are read from the primary"),
            _("It takes writes of its own, or follows another server: see DATABASE_REPLICA_URL."),
        ),
    }[Replica(told["state"])]
    return Line(State.SOON, name, text % values, advice % values)


def _database(health: Health) -> Line:
    values = {
        "name": health.database.name,
        "size": filesizeformat(health.database.size),
        "count": health.missing_migrations,
    }
    if not health.missing_migrations:
        text = _("%(name)s, %(size)s, all migrations applied")
        return Line(State.GOOD, _("Database"), text % values)
    text = ngettext(
        "%(name)s, %(size)s, %(count)d migration is not applied",
        "%(name)s, %(size)s, %(count)d migrations are not applied",
        health.missing_migrations,
    )
    return Line(State.BAD, _("Database"), text % values, _("Apply them:"), MIGRATE)


def _disk(health: Health) -> Line:
    disk = health.disk
    values = {"percent": disk.percent, "total": filesizeformat(disk.total)}
    text = _("%(percent)d %% of %(total)s used") % values
    advice = _("Make room, or enlarge the disk. What is old in the database goes with:")
    state = _state(disk.percent, _DISK)
    if state is State.GOOD:
        return Line(state, _("Disk"), text)
    return Line(state, _("Disk"), text, advice, "python manage.py purge")


def _certificate(certificate: Certificate) -> Line:
    name = _("TLS certificate")
    if certificate.ends is None:
        advice = _("Mend the setting; the server takes it when it is started again.")
        return Line(State.BAD, name, certificate.error, advice)
    values = {
        "days": certificate.days,
        "day": date_format(timezone.localtime(certificate.ends)),
        "setting": certificate.setting,
        "subject": certificate.subject,
    }
    text = (
        _("The one of %(setting)s has ended on %(day)s (%(subject)s)") % values
        if certificate.days < 0
        else ngettext(
            "The one of %(setting)s ends in %(days)d day, on %(day)s (%(subject)s)",
            "The one of %(setting)s ends in %(days)d days, on %(day)s (%(subject)s)",
            certificate.days,
        )
        % values
    )
    state = _state(-certificate.days, tuple(1 - days for days in _DAYS))
    advice = _("Put a renewed one into its file: the next scanner is shown it, without a restart.")
    return Line(state, name, text, "" if state is State.GOOD else advice)


def _audit(health: Health) -> Iterator[Line]:
    if health.audit is None:
        return
    count, since = health.audit.count, health.audit.since
    name = _("Audit trail")
    if since is None:
        yield Line(State.GOOD, name, _("Everything was sent to the collector"))
        return
    waits = timezone.now() - since
    text = ngettext(
        "%(count)d event waits for the collector, the oldest for %(waits)s",
        "%(count)d events wait for the collector, the oldest for %(waits)s",
        count,
    ) % {"count": count, "waits": short(waits)}
    if waits < _SENT_WITHIN:
        yield Line(State.GOOD, name, text)
    else:
        advice = _("Nothing is lost. See that its sender runs, and what it says:")
        yield Line(State.BAD, name, text, advice, SEND)


def _mode(health: Health) -> Iterator[Line]:
    if health.set_up_mode:
        ends = timezone.localtime(health.set_up_mode.ends)
        text = _("Callers that are not set up are answered until %(time)s") % {
            "time": date_format(ends, "H:i")
        }
        yield Line(State.SOON, _("Set-up mode"), text, _("End it:"), page="setup-scanners")


def _state(value: int, limits: tuple[int, ...]) -> State:
    soon, bad = limits
    if value >= bad:
        return State.BAD
    return State.SOON if value >= soon else State.GOOD


# --- for support ----------------------------------------------------------------------------------

# Settings that hold neither a secret nor a place.
_TOLD = (
    "AE_TITLE",
    "AUDIT_QUERIES",
    "DATABASE_REPLICA_LAG",
    "DEBUG",
    "DICOM_ACCESS",
    "DICOM_BIND",
    "DICOM_CHECK_CALLED_AE_TITLE",
    "DICOM_DATABASE_CONNECTIONS",
    "DICOM_MATCH_LIMIT",
    "DICOM_MAX_ASSOCIATIONS",
    "DICOM_PORT",
    "DICOM_TLS_CLIENT",
    "DICOM_TLS_PORT",
    "HTTPS",
    "JOURNAL_DAYS",
    "LANGUAGE_CODE",
    "TIME_ZONE",
)
# Of these, whether they are set.
_WHETHER = ("AUDIT_SYSLOG_HOST", "DICOM_TLS_CA", "DICOM_TLS_CERT", "DICOM_TLS_KEY")


def support(health: Health) -> str:
    """All of it as plain text in English, without secrets and patients."""
    with override("en"):
        return "\n".join(_support(health)) + "\n"


def _support(health: Health) -> Iterator[str]:
    yield f"At: {timezone.now():%Y-%m-%d %H:%M:%S} UTC"
    yield f"Version: {VERSION}; Python {platform.python_version()}; Django {django.__version__}"
    for line in lines(health):
        yield f"[{line.state}] {line.name}: {line.text}"
    silent = [station.ae_title for station, asked in health.stations if asked.is_silent]
    never = [station.ae_title for station, asked in health.stations if asked.last is None]
    yield f"Scanners in use: {len(health.stations)}; silent: {', '.join(silent) or 'none'}"
    yield f"Scanners without a query: {', '.join(never) or 'none'}"
    queries = health.queries
    yield (
        f"Queries of 24 h: {queries.count}; failed {queries.failed}; "
        f"median {queries.median} ms; slowest {queries.slowest} ms"
    )
    refused: dict[str, int] = {}
    for caller in health.refused:
        refused[caller.reason] = refused.get(caller.reason, 0) + caller.times
    told = ", ".join(f"{reason} {times}" for reason, times in refused.items())
    yield f"Refused calls of 24 h: {told or 'none'}"
    for name in _TOLD:
        yield f"{name}={getattr(settings, name)}"
    for name in _WHETHER:
        yield f"{name}: {'set' if getattr(settings, name) else 'not set'}"
