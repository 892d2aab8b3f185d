"""System checks: the table, the models and pydicom's dictionary agree; the settings can work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, models

from worklist import attributes, sheets, values
from worklist.attributes import Attribute
from worklist.models.fields import DicomText, FoldedName
from worklist.models.stations import MOST_MATCHES

# PS3.4 Table K.6-1: the required matching keys, and the return keys of type 1 and 2, at any level.
REQUIRED_MATCHING_KEYS = frozenset(
    {
        "ScheduledProcedureStepSequence",
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "Modality",
        "ScheduledPerformingPhysicianName",
        "PatientName",
        "PatientID",
    }
)
_KIND_OF_COLUMN: dict[str, type[models.Field[Any, Any]]] = {
    "DA": models.DateField,
    "TM": models.TimeField,
    "US": models.IntegerField,
}


@register()
def attribute_table(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[CheckMessage]:
    """Each line of the attribute table names a column that can hold, match and return it."""
    return list(table_faults(attributes.TABLE))


def table_faults(table: Sequence[Attribute]) -> Iterator[CheckMessage]:
    from worklist.models import ScheduledProcedureStep

    for attribute in attributes.walk(list(table)):
        try:
            vr = attribute.vr
        except LookupError:
            yield Error(
                f"{attribute}: not a keyword of the DICOM dictionary.",
                hint="Spell it as PS3.6 does.",
                id="worklist.E001",
            )
            continue
        required = attribute.keyword in REQUIRED_MATCHING_KEYS
        if (attribute.matching == "R") != required:
            yield Error(
                f"{attribute}: matching key type {attribute.matching} differs from Table K.6-1.",
                hint="R for the required matching keys of PS3.4 Table K.6-1, O for all others.",
                id="worklist.E002",
            )
        if attribute.matching not in "RO" or attribute.returned not in ("1", "1C", "2", "2C", "3"):
            yield Error(f"{attribute}: unknown key type.", id="worklist.E002")
        if vr == "SQ":
            if not attribute.items:
                yield Error(f"{attribute}: a sequence without attributes.", id="worklist.E003")
            continue
        try:
            column = _column(ScheduledProcedureStep, attribute)
        except (FieldDoesNotExist, AttributeError) as error:
            yield Error(
                f"{attribute}: no column at {attribute.column!r}: {error}",
                hint="The last entry of the line is an ORM path from ScheduledProcedureStep.",
                id="worklist.E004",
            )
            continue
        yield from _column_faults(attribute, column)


def _column(start: type[models.Model], attribute: Attribute) -> models.Field[Any, Any]:
    parent = attribute.parent
    path = attribute.column
    if parent and parent.column:
        path = f"{parent.column}__{path}"
    model: Any = start
    column: Any = None
    for part in path.split("__"):
        column = model._meta.get_field(part)
        model = column.related_model
    return column


def _column_faults(attribute: Attribute, column: models.Field[Any, Any]) -> Iterator[CheckMessage]:
    keyword = getattr(column, "keyword", None)
    if keyword != attribute.keyword:
        yield Error(
            f"{attribute}: its column {column} holds {keyword or 'no DICOM attribute'}.",
            hint="Declare the column with the attribute's keyword.",
            id="worklist.E005",
        )
        return
    expected = _KIND_OF_COLUMN.get(attribute.vr)
    if not isinstance(column, expected or DicomText) or (
        expected is None and attribute.vr not in values.TEXT_VRS
    ):
        yield Error(f"{attribute}: {column} cannot hold VR {attribute.vr}.", id="worklist.E006")
    if attribute.vr == "PN":
        companions = [f for f in column.model._meta.fields if isinstance(f, FoldedName)]
        if column.name not in {companion.of for companion in companions}:
            yield Error(
                f"{attribute}: {column} has no folded column beside it.",
                hint=f'Add {column.name}_folded = FoldedName("{column.name}").',
                id="worklist.E007",
            )


@register()
def dicom_settings(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[CheckMessage]:
    """The settings of the SCP that can be wrong without being noticed."""
    faults: list[CheckMessage] = []
    try:
        if not settings.AE_TITLE.strip():
            raise ValueError("it is empty")
        values.check_text(settings.AE_TITLE, "AE")
    except ValueError as error:
        faults.append(
            Error(f"AE_TITLE: {error}.", hint="1 to 16 ASCII characters.", id="worklist.E010")
        )
    if not 1 <= settings.DICOM_MATCH_LIMIT <= MOST_MATCHES:
        faults.append(
            Error(
                f"DICOM_MATCH_LIMIT is {settings.DICOM_MATCH_LIMIT}.",
                hint=f"1 to {MOST_MATCHES}.",
                id="worklist.E011",
            )
        )
    for name in ("DICOM_MAX_ASSOCIATIONS", "DICOM_DATABASE_CONNECTIONS"):
        if getattr(settings, name) < 1:
            faults.append(
                Error(
                    f"{name} is {getattr(settings, name)}.", hint="1 or more.", id="worklist.E012"
                )
            )
    if settings.DICOM_ACCESS not in ("known", "any"):
        faults.append(
            Error(
                f"DICOM_ACCESS is {settings.DICOM_ACCESS!r}.",
                hint="known: the stations that are set up. any: every caller.",
                id="worklist.E014",
            )
        )
    if not 0 <= settings.DICOM_PORT <= 65535:
        faults.append(
            Error(f"DICOM_PORT is {settings.DICOM_PORT}.", hint="0 to 65535.", id="worklist.E013")
        )
    faults += _tls_settings()
    faults += _replica_settings()
    return faults


def _tls_settings() -> list[CheckMessage]:
    """What can be told without the files: the web may not be allowed to read them."""
    port = settings.DICOM_TLS_PORT
    faults: list[CheckMessage] = []
    if not 0 <= port <= 65535 or port == settings.DICOM_PORT != 0:
        hint = "1 to 65535, and another one than DICOM_PORT; 0: no TLS."
        faults.append(Error(f"DICOM_TLS_PORT is {port}.", hint=hint, id="worklist.E015"))
    if settings.DICOM_TLS_CLIENT not in ("required", "optional", "off"):
        faults.append(
            Error(
                f"DICOM_TLS_CLIENT is {settings.DICOM_TLS_CLIENT!r}.",
                hint="required, optional or off.",
                id="worklist.E016",
            )
        )
    return faults


def _replica_settings() -> list[CheckMessage]:
    faults: list[CheckMessage] = []
    if "replica" not in settings.DATABASES:
        return faults
    for alias, name in (("default", "DATABASE_URL"), ("replica", "DATABASE_REPLICA_URL")):
        if connections[alias].vendor != "postgresql":
            hint = "A replica is a PostgreSQL server that streams from another one."
            faults.append(Error(f"{name} is not PostgreSQL.", hint=hint, id="worklist.E017"))
    if settings.DATABASE_REPLICA_LAG < 3:
        faults.append(
            Error(
                f"DATABASE_REPLICA_LAG is {settings.DATABASE_REPLICA_LAG}.",
                hint="3 or more: how old its data are is told each second.",
                id="worklist.E018",
            )
        )
    return faults


@register()
def csv_settings(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[CheckMessage]:
    """A separator that our own import would not know again."""
    if settings.CSV_SEPARATOR in ("", *sheets.SEPARATORS):
        return []
    return [
        Error(
            f"CSV_SEPARATOR is {settings.CSV_SEPARATOR!r}.",
            hint="A semicolon, a comma or tab.",
            id="worklist.E014",
        )
    ]
