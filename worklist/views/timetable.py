"""The board's day as a timetable: a column a scanner, a row every five minutes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from worklist import clock
from worklist.board import Board, Exam, Lane
from worklist.scheduling.slots import GRID, Span
from worklist.templatetags.clerk import born, person
from worklist.views import rows

_ROWS_A_HOUR = 60 // GRID
_ROWS_A_DAY = 24 * _ROWS_A_HOUR
# Where nothing says otherwise, a day looks like this.
_USUAL_HOURS = (8, 17)


@dataclass
class _Cell:
    """Rows first to last of one column, the last not included: exams, a gap, or nothing."""

    first: int
    last: int
    exams: tuple[Exam, ...] = ()
    gap: Span | None = None


def timetable(board: Board, *, can_book: bool) -> SafeString:
    """The table's body."""
    columns = [_cells(lane, can_book=can_book) for lane in board.lanes]
    taken = [cell for cells in columns for cell in cells]
    top, bottom = (hour * _ROWS_A_HOUR for hour in _USUAL_HOURS)
    if taken:
        top = min(cell.first for cell in taken) // _ROWS_A_HOUR * _ROWS_A_HOUR
        bottom = -(-max(map(_shown_until, taken)) // _ROWS_A_HOUR) * _ROWS_A_HOUR
    filled = [_filled(cells, top, bottom) for cells in columns]
    now = _row_of(clock.now()) if board.is_today else -1
    lines = []
    for number in range(top, bottom):
        line = '<tr class="now">' if number == now else "<tr>"
        if number % (_ROWS_A_HOUR // 2) == 0:
            line += (
                f'<th scope="row" rowspan="{_ROWS_A_HOUR // 2}">'
                f"{number // _ROWS_A_HOUR:02}:{number % _ROWS_A_HOUR * GRID:02}"
            )
        for lane, starts in zip(board.lanes, filled, strict=True):
            if cell := starts.get(number):
                line += _drawn(cell, lane)
        lines.append(line)
    return mark_safe("\n".join(lines))  # each cell is escaped where it is drawn


def _cells(lane: Lane, *, can_book: bool) -> list[_Cell]:
    """What stands in a column, from top to bottom; exams that overlap share one cell."""
    made: list[_Cell] = []
    for exam in sorted(lane.exams, key=lambda each: (each.begins, each.pk)):
        first = _row_of(exam.begins)
        last = first + max(1, -(-(exam.begins.minute % GRID + exam.minutes) // GRID))
        last = min(last, _ROWS_A_DAY)
        if made and first < made[-1].last:
            before = made[-1]
            made[-1] = _Cell(before.first, max(before.last, last), (*before.exams, exam))
        else:
            made.append(_Cell(first, last, (exam,)))
    if can_book:
        for gap in lane.gaps:
            first, last = _row_of(gap.start), _row_of(gap.end)
            last = last if gap.end.date() == gap.start.date() else _ROWS_A_DAY
            if all(last <= cell.first or cell.last <= first for cell in made if cell.exams):
                made.append(_Cell(first, last, gap=gap))
    return sorted(made, key=lambda cell: cell.first)


def _shown_until(cell: _Cell) -> int:
    """The row until which the table must reach: of what is free until midnight, an hour will do."""
    return cell.last if cell.exams or cell.last < _ROWS_A_DAY else cell.first + _ROWS_A_HOUR


def _filled(cells: Iterable[_Cell], top: int, bottom: int) -> dict[int, _Cell]:
    """A column without holes, each cell by its first row."""
    made, at = {}, top
    for cell in (*cells, _Cell(bottom, bottom)):
        if at < cell.first:
            made[at] = _Cell(at, cell.first)
        made[cell.first] = replace(cell, last=min(cell.last, bottom))
        at = min(cell.last, bottom)
    return made


def _row_of(moment: dt.datetime) -> int:
    return (moment.hour * 60 + moment.minute) // GRID


def _drawn(cell: _Cell, lane: Lane) -> str:
    rowspan = f' rowspan="{cell.last - cell.first}"'
    station = lane.scanner.pk if lane.scanner else 0
    if cell.exams:
        inside = "".join(_exam(exam, station) for exam in cell.exams)
        return f'<td class="taken"{rowspan}>{inside}'
    if cell.gap:
        times = {"start": f"{cell.gap.start:%H:%M}", "end": rows.end_of(cell.gap)}
        text = escape(_("free %(start)s–%(end)s") % times)
        target = rows.booking(cell.gap, station)
        return f'<td class="free"{rowspan}>' + (
            f'<a href="{target}">+ {text}</a>' if target else text
        )
    return f"<td{rowspan}>"


def _exam(exam: Exam, station: int) -> str:
    page = rows.address("exam", exam.pk)
    return (
        f'<div class="slot" {rows.facts(exam, station)}>'
        f'<a href="{page}">{exam.start:%H:%M} {person(exam.name)}</a>{rows.more(exam)}'
        f"<span>{escape(exam.description)}</span>"
        f'<span class="id">{escape(exam.patient_id)} · {escape(born(exam.birth_date))}</span>'
        f"<span {rows.status(exam.status)}</span>{rows.tags(exam)}</div>"
    )
