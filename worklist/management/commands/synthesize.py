"""`manage.py synthesize N`: made-up steps for measurements, in bulk.

What they look like is in `synthetic`. Rows are written past the models and the trail, a table at a
time: COPY on PostgreSQL, else INSERT.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.management.color import no_style
from django.db import connection, models, transaction
from tqdm import tqdm

from worklist import clock, synthetic
from worklist.audit import inserts
from worklist.models import Patient

OTHERS_ARE_HERE = """\
This database holds patients that were not made up: nothing was changed. Name an empty database in
DATABASE_URL, or give --force to put the made-up rows beside them."""


class Command(BaseCommand):
    help = "Load N made-up, dated, DICOM-valid steps, with all that they hang on, for measurements."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("steps", type=int, metavar="N")
        parser.add_argument("--today", type=int, default=500, help="steps a day (default 500)")
        parser.add_argument("--patients", type=int, help="default: three steps a patient")
        parser.add_argument("--stations", type=int, default=20, help="default 20")
        parser.add_argument("--modalities", type=int, default=7, choices=range(1, 8), metavar="1-7")
        parser.add_argument("--to-do", action="store_true", help="every step is yet to be done")
        parser.add_argument("--seed", type=int, default=1, help="the same seed, the same rows")
        parser.add_argument(
            "--force", action="store_true", help="even beside patients that were not made up"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        steps, patients = options["steps"], options["patients"] or -(-options["steps"] // 3)
        if min(steps, patients, options["today"], options["stations"]) < 1:
            raise CommandError("All numbers are 1 or more.")
        real = Patient.objects.exclude(issuer=synthetic.ISSUER)
        if not options["force"] and real.exists():
            raise CommandError(OTHERS_ARE_HERE)
        started = time.monotonic()
        with transaction.atomic():
            plan = synthetic.Plan(
                steps=steps,
                patients=patients,
                stations=options["stations"],
                a_day=options["today"],
                today=clock.today(),
                seed=options["seed"],
                first=first_free(),
                modality_count=options["modalities"],
                all_to_do=options["to_do"],
            )
            with indexes_made_afterwards(show=options["verbosity"] > 0):
                for table in synthetic.tables(plan):
                    load(table, show=options["verbosity"] > 0)
            for sql in connection.ops.sequence_reset_sql(no_style(), list(synthetic.MODELS)):
                with connection.cursor() as cursor:
                    cursor.execute(sql)
        if connection.vendor == "postgresql":
            # Else the planner knows nothing of the rows until autovacuum comes by.
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
        seconds = time.monotonic() - started
        self.stdout.write(f"{steps} steps of {patients} patients in {seconds:.0f} s.")


@contextmanager
def indexes_made_afterwards(*, show: bool) -> Iterator[None]:
    """Load tables that are empty without their indexes: to make these at once is less work.

    Those of constraints stay. PostgreSQL alone: in a transaction, so that none is ever missing.
    """
    if connection.vendor != "postgresql" or Patient.objects.exists():
        yield
        return
    tables = [model._meta.db_table for model in synthetic.MODELS]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) "
            "AND schemaname = current_schema() "
            "AND indexname NOT IN (SELECT conname FROM pg_constraint)",
            [tables],
        )
        made = cursor.fetchall()
        for name, _ in made:
            cursor.execute(f"DROP INDEX {connection.ops.quote_name(name)}")
        yield
        # What is still to be checked of the rows would be in the way.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
        for _, definition in tqdm(made, desc="indexes", unit="", disable=not show):
            cursor.execute(definition)


def first_free() -> dict[type[models.Model], int]:
    """The first number of each table that is free."""
    return {
        model: 1 + (model._base_manager.aggregate(last=models.Max("pk"))["last"] or 0)
        for model in synthetic.MODELS
    }


def load(table: synthetic.Table, *, show: bool) -> None:
    """Write the rows of one table."""
    name = table.model._meta.db_table
    rows = tqdm(table.rows, total=table.count, desc=name, disable=not show, unit="")
    if connection.vendor == "postgresql":
        inserts.write(table.model, table.fields, rows)
        return
    prepared = (
        [
            field.get_db_prep_save(value, connection)
            for field, value in zip(table.fields, row, strict=True)
        ]
        for row in rows
    )
    inserts.write(table.model, table.fields, prepared)
