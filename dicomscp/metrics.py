"""What Prometheus is told: the counts that heartbeats carry, and how things are now.

Each process of runscp counts for itself, from its start on, and is a label of what it counts: so a
count only grows, and starts anew with its process, as Prometheus expects. No patient data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from django.conf import settings
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dicomscp import health, heartbeat, silence
from dicomscp.access import Reason, Verdict
from dicomscp.heartbeat import Process
from dicomscp.replica import State
from dicomscp.tally import BOUNDS
from dicomscp.wire.bounds import Bound
from worklist import database, delivery
from worklist.models import Station, StationTitle
from worklist.version import VERSION

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Callers that are no station's are told apart nowhere but in the journal.
OTHER = "other"


def text() -> bytes:
    """All of them in Prometheus's text format. Raises Error without a database."""
    registry = CollectorRegistry(auto_describe=False)
    processes = heartbeat.processes()
    told = [*_of_processes(processes), *_of_stations(), *_of_everything(processes)]
    registry.register(_Told(told))
    return generate_latest(registry)


class _Told(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _of_processes(processes: Sequence[Process]) -> Iterator[Metric]:
    processes = [process for process in processes if process.row.stopped is None]
    age = GaugeMetricFamily(
        "worklist_heartbeat_age_seconds", "Since runscp said that it runs", labels=["process"]
    )
    is_open = GaugeMetricFamily(
        "worklist_associations_open", "Associations that are open", labels=["process"]
    )
    dropped = CounterMetricFamily(
        "worklist_journal_dropped", "Entries that the journal lost", labels=["process"]
    )
    lost = CounterMetricFamily(
        "worklist_audit_lost", "Events that the audit trail lost", labels=["process"]
    )
    past = CounterMetricFamily(
        "worklist_bounds_passed",
        "Peers that were hung up on, by the bound they had passed",
        labels=["process", "bound"],
    )
    for process in processes:
        name = [_name(process)]
        age.add_metric(name, process.age.total_seconds())
        is_open.add_metric(name, process.row.associations if process.is_alive else 0)
        dropped.add_metric(name, process.row.dropped)
        lost.add_metric(name, process.row.unsigned)
        for bound in Bound:
            past.add_metric([*name, bound], process.row.counts.get("bounds", {}).get(bound, 0))
    yield from (age, is_open, dropped, lost, past)
    yield from _replicas(processes)
    yield from _calls(processes)
    yield from _queries(processes)


def _replicas(processes: Sequence[Process]) -> Iterator[Metric]:
    is_read = GaugeMetricFamily(
        "worklist_replica_read", "1: queries are read from the replica", labels=["process"]
    )
    behind = GaugeMetricFamily(
        "worklist_replica_behind_seconds",
        "How old at most is what the replica shows",
        labels=["process"],
    )
    for process in processes:
        if told := process.row.replica:
            name = [_name(process)]
            is_read.add_metric(name, float(told["state"] == State.READ))
            if told["behind"] is not None:
                behind.add_metric(name, told["behind"])
    yield from (is_read, behind)


def _calls(processes: Sequence[Process]) -> Iterator[Metric]:
    labels = ["process", "reason"]
    accepted = CounterMetricFamily(
        "worklist_associations", "Associations, by why they were accepted", labels=labels
    )
    refused = CounterMetricFamily(
        "worklist_refused_callers", "Calls that were refused, by why", labels=labels
    )
    for process in processes:
        counts = process.row.counts.get("associations", {})
        # Each from the beginning: Prometheus sees no growth in what appears with its first count.
        for reason in Reason:
            family = accepted if Verdict(reason).is_accepted else refused
            family.add_metric([_name(process), str(reason)], counts.get(reason, 0))
    yield from (accepted, refused)


def _queries(processes: Sequence[Process]) -> Iterator[Metric]:
    stations = _stations()
    queries = CounterMetricFamily(
        "worklist_queries",
        "C-FINDs, by the status that ended them",
        labels=["process", "station", "status"],
    )
    matches = CounterMetricFamily(
        "worklist_matches", "Steps that queries matched", labels=["process", "station"]
    )
    seconds = HistogramMetricFamily(
        "worklist_query_seconds", "How long queries took", labels=["process"]
    )
    for process in processes:
        name, counts = _name(process), process.row.counts
        asked: Counter[tuple[str, str]] = Counter()
        found: Counter[str] = Counter()
        for title, by_status in counts.get("queries", {}).items():
            for status, count in by_status.items():
                asked[stations.get(title, OTHER), status] += count
        for title, count in counts.get("matches", {}).items():
            found[stations.get(title, OTHER)] += count
        for (station, status), count in sorted(asked.items()):
            queries.add_metric([name, station, status], count)
        for station, count in sorted(found.items()):
            matches.add_metric([name, station], count)
        within = counts.get("within", [0] * (len(BOUNDS) + 1))
        bounds = [*map(str, BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(within), strict=True))
        seconds.add_metric([name], buckets, counts.get("milliseconds", 0) / 1000)
    yield from (queries, matches, seconds)


def _of_stations() -> Iterator[Metric]:
    asked = GaugeMetricFamily(
        "worklist_station_asked_seconds", "Since a scanner asked", labels=["station"]
    )
    silent = GaugeMetricFamily(
        "worklist_station_silent",
        "1: it has not asked for three times its usual gap while it is open",
        labels=["station"],
    )
    stations = list(Station.objects.filter(is_active=True).order_by("ae_title"))
    found = silence.of(stations)
    for station in stations:
        name, of_it = [station.ae_title], found[station.pk]
        if of_it.ago is not None:
            asked.add_metric(name, of_it.ago.total_seconds())
        silent.add_metric(name, float(of_it.is_silent))
    yield from (asked, silent)


def _of_everything(processes: Sequence[Process]) -> Iterator[Metric]:
    info = GaugeMetricFamily("worklist_info", "The version of the web", labels=["version"])
    info.add_metric([VERSION], 1)
    yield info
    yield GaugeMetricFamily(
        "worklist_database_bytes", "The size of the database", value=database.read().size
    )
    yield GaugeMetricFamily(
        "worklist_missing_migrations",
        "Migrations that are not applied",
        value=database.missing_migrations(),
    )
    if settings.AUDIT_SYSLOG_HOST:
        backlog = delivery.backlog(f"{settings.AUDIT_SYSLOG_HOST}:{settings.AUDIT_SYSLOG_PORT}")
        yield GaugeMetricFamily(
            "worklist_audit_waiting", "Events that wait for the collector", value=backlog.count
        )
    ends = GaugeMetricFamily(
        "worklist_certificate_seconds",
        "Until the first TLS certificate of a setting ends",
        labels=["setting"],
    )
    first: dict[str, float] = {}
    for each in health.certificates_of(processes):
        if each.ends is not None:
            left = (each.ends - timezone.now()).total_seconds()
            first[each.setting] = min(left, first.get(each.setting, left))
    for setting, left in sorted(first.items()):
        ends.add_metric([setting], left)
    yield ends


def _stations() -> dict[str, str]:
    """Each AE title of a station, and the first of that station."""
    further = StationTitle.objects.values_list("ae_title", "station__ae_title")
    own = Station.objects.values_list("ae_title", "ae_title")
    return dict(further) | dict(own)


def _name(process: Process) -> str:
    """host:port, and the number of a worker behind it: host:port/2."""
    worker = f"/{process.row.worker}" if process.row.worker else ""
    return f"{process.row.host}:{process.row.port}{worker}"
