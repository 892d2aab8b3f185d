"""The board: one day's steps by station, what stands out among them, and when that changes.

Reads only, no HTML. A page costs the same few SQL statements however full the day is.
"""

from __future__ import annotations

from worklist.board.changes import etag
from worklist.board.day import read
from worklist.board.filters import Filters
from worklist.board.search import ELSEWHERE_SHOWN
from worklist.board.shown import Board, Exam, Lane, Scanner, exams, patients

__all__ = [
    "ELSEWHERE_SHOWN",
    "Board",
    "Exam",
    "Filters",
    "Lane",
    "Scanner",
    "etag",
    "exams",
    "patients",
    "read",
]
