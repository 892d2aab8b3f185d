"""Whether anybody waits for `purge`: `python -m benchmarks.purge URL`.

URL names a database of many orders that are over, and of some for today, as `synthesize` makes
them; part of it is deleted. Scanners ask and people save at a steady pace, alone and beside it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import quantiles

from benchmarks import data, load, peers, queries
from benchmarks.load import Load

_PAUSE = 0.05  # seconds from one answer to the next question


def main(arguments: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(prog="python -m benchmarks.purge", description=__doc__)
    made.add_argument("url")
    made.add_argument("--seconds", type=float, default=30.0, help="of each part (30)")
    made.add_argument("--rest", type=float, default=1.0, help="as `purge --rest` (1)")
    made.add_argument("--days", type=int, default=90, help="ORDER_DAYS (90)")
    options = made.parse_args(arguments)
    os.environ.update(data.environment(options.url))
    import django

    django.setup()
    with data.connected(options.url) as connection:
        questions = queries.choose(connection, today=dt.datetime.now(dt.UTC).date())
    query = questions.named("Q1")
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as name,
        peers.ours("runscp", options.url, folder=Path(name)) as server,
    ):
        one = Load(
            port=server.port,
            calling=questions.calling,
            identifier=query.identifier.hex(),
            matches=query.matches,
            seconds=0.0,
            least=1,
        )
        tasks = (lambda: load.run(one).times[0], _saver())
        _both(tasks, 3.0)  # warm
        alone = _both(tasks, options.seconds)
        before = _orders(options.url)
        purge = subprocess.Popen(
            [sys.executable, "manage.py", "purge", f"--rest={options.rest}"],
            cwd=load.ROOT,
            env=data.environment(options.url, ORDER_DAYS=str(options.days)),
            stdout=subprocess.DEVNULL,
        )
        try:
            while _orders(options.url) == before and purge.poll() is None:
                time.sleep(0.1)
            first, began = _orders(options.url), time.monotonic()
            beside = _both(tasks, options.seconds)
            gone = first - _orders(options.url)
            took = time.monotonic() - began
        finally:
            purge.kill()
            purge.wait()
    told = {
        "benchmark": "purge",
        "orders_per_second": round(gone / took, 1),
        **{
            f"{what}_{when}_ms": _figures(times)
            for when, measured in (("alone", alone), ("beside", beside))
            for what, times in zip(("query", "save"), measured, strict=True)
        },
    }
    print(json.dumps(told))


def _both(tasks: Sequence[Callable[[], float]], seconds: float) -> list[list[float]]:
    """Milliseconds of each task, done again and again beside the other."""
    until = time.monotonic() + seconds

    def keep_on(task: Callable[[], float]) -> list[float]:
        times = []
        while time.monotonic() < until:
            times.append(task())
            threading.Event().wait(_PAUSE)
        return times

    with ThreadPoolExecutor(len(tasks)) as threads:
        return list(threads.map(keep_on, tasks))


def _saver() -> Callable[[], float]:
    """A person who amends by turns an exam of today and a patient whose orders are over."""
    from worklist.audit import trail
    from worklist.audit.trail import Actor
    from worklist.models import Patient, ScheduledProcedureStep

    today = ScheduledProcedureStep.objects.order_by("-start_date").values_list("pk", flat=True)
    rows = (
        (ScheduledProcedureStep, list(today[:500])),
        (Patient, list(Patient.objects.order_by("?").values_list("pk", flat=True)[:2000])),
    )
    numbers = count()

    def save() -> float:
        number = next(numbers)
        model, keys = rows[number % len(rows)]
        row = model._default_manager.get(pk=keys[number % len(keys)])
        row.comments = f"amended {time.time()}"
        began = time.perf_counter()
        trail.save(row, by=Actor("benchmark"))
        return (time.perf_counter() - began) * 1000

    return save


def _orders(url: str) -> int:
    with data.connected(url) as connection:
        (found,) = connection.execute(
            "SELECT count(*) FROM audit_auditevent WHERE actor = 'purge' "
            "AND model = 'worklist.imagingservicerequest'"
        ).fetchone()
        return -int(found)


def _figures(times: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(times, n=100)
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "n": len(times)}


if __name__ == "__main__":
    main()
