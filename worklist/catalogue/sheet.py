"""The catalogue of procedures as a sheet: written as CSV, read back, compared, taken over.

A sheet is first read into a Plan, which changes nothing; what a person has seen of it is what is
carried out, or nothing is.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from worklist import sheets
from worklist.audit.trail import Actor
from worklist.catalogue.verbs import CodedText, save_procedure_type
from worklist.modalities import modalities
from worklist.models import Code, ProcedureType, Station

COLUMNS = (
    "code",
    "description",
    "modality",
    "minutes",
    "default_scanner",
    "allowed_scanners",
    "requested_code",
    "protocol_codes",
    "contrast",
    "pregnancy",
    "preparation",
    "in_use",
)
REQUIRED = ("code", "description", "modality")
MAX_BYTES = 1_000_000
# A large hospital's catalogue has some thousand exams; the preview shows each line.
MAX_LINES = 5_000
# The values of a cell, and the parts of a code. Neither text ever holds a backslash (PS3.5 6.2), so
# it takes their place where one of the values holds the usual sign.
_BETWEEN_STATIONS, _BETWEEN_PARTS, _LAST_RESORT = ",", "|", "\\"
_SPACE = " \t\n"
_YES = {"yes", "y", "true", "1", "x", "ja", "j"}
_NO = {"no", "n", "false", "0", "nein"}

Cells = dict[str, str]


class SheetError(Exception):
    """The file as a whole cannot be read; the text says why and what to do."""


@dataclass(frozen=True)
class Entry:
    """What one line says of a procedure, in our own terms; stations by AE title."""

    code: str
    description: str = ""
    modality: str = ""
    minutes: int = 30
    default_scanner: str = ""
    allowed_scanners: tuple[str, ...] = ()
    requested_code: CodedText | None = None
    protocol_codes: tuple[CodedText, ...] = ()
    contrast: bool = False
    pregnancy: bool = False
    preparation: str = ""
    in_use: bool = True


@dataclass(frozen=True)
class CellChange:
    """A column in which the sheet differs from the catalogue."""

    column: str
    before: str
    after: str


@dataclass(frozen=True)
class Line:
    """One line of the sheet, and what it comes to."""

    number: int
    kind: Literal["new", "changed", "same", "wrong"]
    entry: Entry
    changes: tuple[CellChange, ...] = ()
    reasons: tuple[str, ...] = ()
    # The version of the row that it changes.
    seen: int | None = None


@dataclass(frozen=True)
class Plan:
    """What taking the sheet over would do."""

    lines: tuple[Line, ...]
    digest: str = field(default="")

    def of(self, kind: str) -> list[Line]:
        return [line for line in self.lines if line.kind == kind]


# --- out ------------------------------------------------------------------------------------------


def rows() -> Iterator[list[str]]:
    """The whole catalogue, the names of the columns first."""
    yield list(COLUMNS)
    for kind in _stored().values():
        cells = _spell(_entry_of(kind))
        yield [cells[column] for column in COLUMNS]


def _stored() -> dict[str, ProcedureType]:
    stored = (
        ProcedureType.objects.select_related("requested_procedure_code", "default_station")
        .prefetch_related("allowed_stations", "proceduretypecode_set__code")
        .order_by("code")
    )
    return {kind.code: kind for kind in stored}


def _entry_of(kind: ProcedureType) -> Entry:
    requested = kind.requested_procedure_code
    return Entry(
        code=kind.code,
        description=kind.description,
        modality=kind.modality,
        minutes=kind.minutes,
        default_scanner=kind.default_station.ae_title if kind.default_station else "",
        allowed_scanners=tuple(sorted(one.ae_title for one in kind.allowed_stations.all())),
        requested_code=CodedText.of(requested) if requested else None,
        protocol_codes=tuple(CodedText.of(row.code) for row in kind.proceduretypecode_set.all()),
        contrast=kind.uses_contrast,
        pregnancy=kind.asks_pregnancy,
        preparation=_as_in_a_cell(kind.preparation),
        in_use=kind.is_active,
    )


def _spell(entry: Entry) -> Cells:
    requested = entry.requested_code
    return {
        "code": entry.code,
        "description": entry.description,
        "modality": entry.modality,
        "minutes": str(entry.minutes),
        "default_scanner": entry.default_scanner,
        "allowed_scanners": _join(entry.allowed_scanners, _BETWEEN_STATIONS),
        "requested_code": _spell_code(requested) if requested else "",
        "protocol_codes": "\n".join(_spell_code(code) for code in entry.protocol_codes),
        "contrast": _spell_bool(entry.contrast),
        "pregnancy": _spell_bool(entry.pregnancy),
        "preparation": entry.preparation,
        "in_use": _spell_bool(entry.in_use),
    }


def _spell_code(code: CodedText) -> str:
    parts = (code.value, code.scheme, code.meaning)
    usual = _BETWEEN_PARTS not in code.value + code.scheme
    return (_BETWEEN_PARTS if usual else _LAST_RESORT).join(parts)


def _spell_bool(value: bool) -> str:
    return "yes" if value else "no"


def _join(texts: tuple[str, ...], usual: str) -> str:
    if any(usual in text for text in texts):
        return "".join(text + _LAST_RESORT for text in texts)
    return usual.join(texts)


# --- in -------------------------------------------------------------------------------------------


def text_of(content: bytes) -> str:
    """The file's text: UTF-8, with or without the mark that spreadsheets put before it."""
    if len(content) > MAX_BYTES:
        raise SheetError(_("The file is larger than 1 MB. Split it, or leave unchanged rows out."))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SheetError(
            _("The file is not UTF-8. In the spreadsheet, save it as “CSV UTF-8”.")
        ) from None


def plan(text: str) -> Plan:
    """Compare the sheet with the catalogue, line by line. Raises SheetError."""
    text = _one_kind_of_line_end(text).removeprefix(sheets.BYTE_ORDER_MARK)
    stored = _stored()
    stations = {station.ae_title for station in Station.objects.all()}
    seen_at: dict[str, int] = {}
    lines = []
    for number, cells in _records(text):
        line = _line(number, cells, stored.get(cells["code"]), stations)
        first = seen_at.setdefault(line.entry.code, number)
        if first != number and line.entry.code:
            reason = _("The code stands on line %(line)d already.") % {"line": first}
            line = replace(line, kind="wrong", reasons=(*line.reasons, reason))
        lines.append(line)
        if len(lines) > MAX_LINES:
            raise SheetError(_("The file has more than %(count)d rows.") % {"count": MAX_LINES})
    if not lines:
        raise SheetError(_("There is no row below the names of the columns."))
    digest = hashlib.sha256(repr(lines).encode()).hexdigest()
    return Plan(tuple(lines), digest)


def carry_out(planned: Plan, *, by: Actor) -> None:
    """Save what is new and what is changed, all of it or nothing. Raises StaleError."""
    with transaction.atomic():
        stored = _stored()
        stations = {station.ae_title: station for station in Station.objects.all()}
        for line in (*planned.of("new"), *planned.of("changed")):
            entry = line.entry
            kind = stored.get(entry.code) or ProcedureType()
            _fill(kind, entry)
            kind.default_station = stations.get(entry.default_scanner)
            save_procedure_type(
                kind,
                allowed_stations=[stations[title] for title in entry.allowed_scanners],
                requested_code=entry.requested_code,
                protocol_codes=entry.protocol_codes,
                seen=line.seen,
                by=by,
            )


def _one_kind_of_line_end(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _as_in_a_cell(text: str) -> str:
    return _one_kind_of_line_end(text).strip(_SPACE)


def _records(text: str) -> Iterator[tuple[int, Cells]]:
    """Line number and cells by column of each row that is not empty. Raises SheetError."""
    heading = text.partition("\n")[0]
    delimiter = max(sheets.SEPARATORS, key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        _check_columns(columns)
        last = reader.line_num
        for record in reader:
            number, last = last + 1, reader.line_num
            if not any(cell.strip() for cell in record):
                continue
            cells = [sheets.plain(cell).strip(_SPACE) for cell in record]
            yield number, {**dict.fromkeys(REQUIRED, ""), **dict(zip(columns, cells, strict=False))}
    except csv.Error as error:
        where = {"line": reader.line_num, "reason": error}
        raise SheetError(_("Line %(line)d is not CSV: %(reason)s.") % where) from None


def _check_columns(columns: list[str]) -> None:
    if missing := [name for name in REQUIRED if name not in columns]:
        raise SheetError(
            _("The first line lacks these columns: %(names)s.") % {"names": ", ".join(missing)}
        )
    if unknown := [name or "–" for name in columns if name not in COLUMNS]:
        raise SheetError(
            _("The first line has columns that are not known: %(names)s.")
            % {"names": ", ".join(unknown)}
        )
    if len(set(columns)) < len(columns):
        raise SheetError(_("The first line has a column twice."))


def _line(number: int, cells: Cells, stored: ProcedureType | None, stations: set[str]) -> Line:
    present = _entry_of(stored) if stored else Entry(code=cells["code"])
    entry, reasons = _read(cells, present)
    reasons += _faults(entry, stations)
    if entry.modality and entry.modality not in dict(modalities(present.modality)):
        told = _("“%(modality)s” is none of the modalities of the catalogue's form.")
        reasons.append(told % {"modality": entry.modality})
    if reasons:
        return Line(number, "wrong", entry, reasons=tuple(reasons))
    if stored is None:
        return Line(number, "new", entry)
    before, after = _spell(present), _spell(entry)
    changes = tuple(
        CellChange(column, before[column], after[column])
        for column in COLUMNS
        if before[column] != after[column]
    )
    return Line(number, "changed" if changes else "same", entry, changes, seen=stored.version)


def _read(cells: Cells, present: Entry) -> tuple[Entry, list[str]]:
    """The entry with what the cells say, and what cannot be read of them."""
    said: dict[str, Any] = {}
    reasons = []
    for column, cell in cells.items():
        if not cell and column in _KEPT_WHEN_EMPTY:
            continue
        try:
            said[column] = _READERS.get(column, str)(cell)
        except ValueError as error:
            reasons.append(f"{column}: {error}")
    return replace(present, **said), reasons


def _read_minutes(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit()):
        raise ValueError(_("“%(text)s” is not a whole number.") % {"text": cell})
    return int(cell)


def _read_bool(cell: str) -> bool:
    if cell.lower() not in _YES | _NO:
        raise ValueError(_("“%(text)s” is neither yes nor no.") % {"text": cell})
    return cell.lower() in _YES


def _read_stations(cell: str) -> tuple[str, ...]:
    titles = cell.split(_LAST_RESORT if _LAST_RESORT in cell else _BETWEEN_STATIONS)
    return tuple(sorted({title.strip() for title in titles if title.strip()}))


def _read_code(cell: str) -> CodedText | None:
    if not cell:
        return None
    parts = cell.split(_LAST_RESORT if _LAST_RESORT in cell else _BETWEEN_PARTS, 2)
    if len(parts) != 3:
        raise ValueError(
            _("“%(text)s” is not a code: write value|scheme|meaning.") % {"text": cell}
        )
    return CodedText(*(part.strip() for part in parts))


def _read_codes(cell: str) -> tuple[CodedText, ...]:
    codes = (_read_code(line.strip()) for line in cell.split("\n"))
    return tuple(dict.fromkeys(code for code in codes if code))


_READERS: Mapping[str, Callable[[str], Any]] = {
    "minutes": _read_minutes,
    "allowed_scanners": _read_stations,
    "requested_code": _read_code,
    "protocol_codes": _read_codes,
    "contrast": _read_bool,
    "pregnancy": _read_bool,
    "in_use": _read_bool,
}
# An empty cell of these says nothing; of the others, that there is none.
_KEPT_WHEN_EMPTY = ("minutes", "contrast", "pregnancy", "in_use")


def _fill(kind: ProcedureType, entry: Entry) -> None:
    kind.code = entry.code
    kind.description = entry.description
    kind.modality = entry.modality
    kind.minutes = entry.minutes
    kind.uses_contrast = entry.contrast
    kind.asks_pregnancy = entry.pregnancy
    if _as_in_a_cell(kind.preparation) != entry.preparation:
        kind.preparation = entry.preparation
    kind.is_active = entry.in_use


def _faults(entry: Entry, stations: set[str]) -> list[str]:
    """What the catalogue would not take of it, by column."""
    kind = ProcedureType()
    _fill(kind, entry)
    columns = {"uses_contrast": "contrast", "asks_pregnancy": "pregnancy", "is_active": "in_use"}
    faults = list(_said(kind, columns, ""))
    named = {*entry.allowed_scanners, *filter(None, [entry.default_scanner])}
    for title in sorted(named - stations):
        faults.append(_("There is no scanner with the AE title “%(title)s”.") % {"title": title})
    allowed = entry.allowed_scanners
    if entry.default_scanner and allowed and entry.default_scanner not in allowed:
        faults.append(_("The usual scanner is not one of the allowed ones."))
    codes = [("requested_code", entry.requested_code)]
    codes += [("protocol_codes", code) for code in entry.protocol_codes]
    for column, code in codes:
        if code:
            faults += _said(Code(**code.columns), {}, column)
    return faults


def _said(row: ProcedureType | Code, columns: Mapping[str, str], where: str) -> Iterator[str]:
    try:
        row.clean_fields(exclude=["requested_procedure_code", "default_station"])
    except ValidationError as error:
        for name, messages in error.message_dict.items():
            yield f"{where or columns.get(name, name)}: {' '.join(messages)}"
