"""How the broker is: everything that /status/ tells, and tells support, as facts."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.models import Count, Max, Q
from django.utils import timezone

from dicomscp import access, callers, certificates, heartbeat, silence
from dicomscp.callers import Caller
from dicomscp.certificates import SettingsError
from dicomscp.heartbeat import Process
from dicomscp.models import Query, SetUpMode
from dicomscp.silence import Asked
from dicomscp.status import CANCEL, SUCCESS
from worklist import database, delivery
from worklist.database import Database
from worklist.delivery import Backlog
from worklist.models import Station

DAY = dt.timedelta(hours=24)


@dataclass(frozen=True)
class Disk:
    """The disk of the database, where it is a file; else that of this machine."""

    total: int
    used: int

    @property
    def percent(self) -> int:
        return round(100 * self.used / self.total)


@dataclass(frozen=True)
class Certificate:
    """A certificate of TLS; or what is wrong with the setting that should name one."""

    setting: str = ""
    subject: str = ""
    days: int = 0
    ends: dt.datetime | None = None
    error: str = ""


@dataclass(frozen=True)
class Queries:
    """The queries of the last day; milliseconds are None without any."""

    count: int
    failed: int
    median: int | None
    slowest: int | None


@dataclass(frozen=True)
class Health:
    """How everything is at this moment."""

    database: Database
    missing_migrations: int
    processes: tuple[Process, ...]
    disk: Disk
    certificates: tuple[Certificate, ...]
    # None: no collector is set.
    audit: Backlog | None
    set_up_mode: SetUpMode | None
    stations: tuple[tuple[Station, Asked], ...]
    queries: Queries
    refused: tuple[Caller, ...]

    @property
    def alive(self) -> tuple[Process, ...]:
        return tuple(process for process in self.processes if process.is_alive)


def read() -> Health:
    """How everything is, in a fixed number of statements. Raises Error without a database."""
    since = timezone.now() - DAY
    processes = heartbeat.processes()
    stations = list(Station.objects.filter(is_active=True).order_by("name", "ae_title"))
    asked = silence.of(stations)
    collector = f"{settings.AUDIT_SYSLOG_HOST}:{settings.AUDIT_SYSLOG_PORT}"
    return Health(
        database=database.read(),
        missing_migrations=database.missing_migrations(),
        processes=tuple(processes),
        disk=_disk(),
        certificates=tuple(certificates_of(processes)),
        audit=delivery.backlog(collector) if settings.AUDIT_SYSLOG_HOST else None,
        set_up_mode=access.set_up_mode(),
        stations=tuple((station, asked[station.pk]) for station in stations),
        queries=_queries(since),
        refused=tuple(callers.refused(since)),
    )


def _disk() -> Disk:
    is_file = connection.vendor == "sqlite"
    path = Path(connection.settings_dict["NAME"]).parent if is_file else settings.BASE_DIR
    usage = shutil.disk_usage(path)
    # What is kept for root is nobody's to use.
    return Disk(usage.used + usage.free, usage.used)


def certificates_of(processes: Sequence[Process]) -> list[Certificate]:
    """Those that the DICOM server reads, which may be another machine; else, those of here."""
    alive = [process for process in processes if process.is_alive]
    if not alive:
        try:
            return [_certificate(e.setting, e.subject, e.ends) for e in certificates.endings()]
        except SettingsError as error:
            return [Certificate(error=str(error))]
    told = [each for process in alive for each in process.row.certificates]
    found = [
        Certificate(error=each["error"])
        if "error" in each
        else _certificate(each["setting"], each["subject"], dt.datetime.fromisoformat(each["ends"]))
        for each in told
    ]
    # Several processes read the same files.
    return list(dict.fromkeys(found))


def _certificate(setting: str, subject: str, ends: dt.datetime) -> Certificate:
    return Certificate(setting, subject, (ends - timezone.now()) // dt.timedelta(days=1), ends)


def _queries(since: dt.datetime) -> Queries:
    """Two statements: the median is the one in the middle."""
    asked = Query.objects.filter(at__gte=since)
    failed = Q(status=None) | ~Q(status__in=(SUCCESS, CANCEL))
    found = asked.order_by().aggregate(
        count=Count("pk"), failed=Count("pk", filter=failed), slowest=Max("milliseconds")
    )
    middle = max(0, (found["count"] - 1) // 2)
    ordered = asked.order_by("milliseconds").values_list("milliseconds", flat=True)
    median = next(iter(ordered[middle : middle + 1]), None)
    return Queries(found["count"], found["failed"], median, found["slowest"])
