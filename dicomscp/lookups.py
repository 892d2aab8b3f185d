"""Lookups of SQL for what C-FIND asks: LIKE with a pattern that is ready made, never a regular
expression made from a key; and spellings that an index serves, whatever values will be asked for.

They are registered for text columns when this is imported.
"""

from __future__ import annotations

import sys
from copy import copy
from typing import Any

from django.db import models

from worklist.models import StepStatus

# Of these no value has a quote in it.
KNOWN_STATUSES = frozenset(map(str, StepStatus.values))


class _Like(models.Lookup):
    """LIKE, with a pattern."""

    lookup_name = "dicom_like"
    prepare_rhs = True

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} LIKE {right} ESCAPE '\\'", [*left_params, *right_params]


class _Begins(models.Lookup):
    """Whether it begins with a text, asked so that an index finds it, whatever the text will be.

    Of a pattern, PostgreSQL only knows that once it sees it.
    """

    lookup_name = "dicom_begins"
    prepare_rhs = True
    at_least, below = ">=", "<"

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        left, left_params = self.process_lhs(compiler, connection)
        first, behind = str(self.rhs), _behind(str(self.rhs))
        sql, params = f"{left} {self.at_least} %s", [*left_params, first]
        if behind:
            sql, params = f"{sql} AND {left} {self.below} %s", [*params, *left_params, behind]
        return f"({sql})", params

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        # By its characters' numbers, whatever the database's collation.
        bytewise = copy(self)
        bytewise.at_least, bytewise.below = "~>=~", "~<~"
        return bytewise.as_sql(compiler, connection)


def _behind(text: str) -> str:
    """The first text, by the numbers of characters, behind all that begin with this one; or ""."""
    text = text.rstrip(chr(sys.maxunicode))
    if not text:
        return ""
    number = ord(text[-1]) + 1
    # No character has the number of a surrogate.
    return text[:-1] + chr(0xE000 if number == 0xD800 else number)


class _LikeInGroup(models.Lookup):
    """LIKE, of names of several groups alone.

    On PostgreSQL these have an index of their own, a small one: of this very spelling, so that it
    is taken and not that of all names.
    """

    lookup_name = "dicom_like_in_group"
    prepare_rhs = True
    position = "instr"

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        sql = f"({self.position}({left}, '=') > 0 AND ({left} || '') LIKE {right} ESCAPE '\\')"
        return sql, [*left_params, *left_params, *right_params]

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        there = copy(self)
        there.position = "strpos"
        return there.as_sql(compiler, connection)


class _LikeOfFew(_Like):
    """LIKE, of rows that are found otherwise: not by the index of trigrams, which would take longer
    than to look at them.
    """

    lookup_name = "dicom_like_of_few"

    def process_lhs(self, compiler: Any, connection: Any, lhs: Any = None) -> Any:
        left, params = super().process_lhs(compiler, connection, lhs)
        return f"({left} || '')", params


class _IsStatus(models.Lookup):
    """Whether it is one of these statuses, which stand in the SQL: an index of some of them serves
    it only if they are known when the statement is prepared.
    """

    lookup_name = "dicom_status"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        left, params = self.process_lhs(compiler, connection)
        assert KNOWN_STATUSES.issuperset(self.rhs)
        statuses = ", ".join(f"'{one}'" for one in self.rhs)
        return f"{left} IN ({statuses})", params


for _lookup in (_Like, _LikeOfFew, _Begins, _LikeInGroup, _IsStatus):
    models.CharField.register_lookup(_lookup)
