"""A row to its response Identifier's bytes, as pydicom would write response.identifier().

A worklist is asked for the same values again and again: of each attribute the bytes of an element
are kept under the value that they spell, so that most of an answer is looked up, not written. They
depend on nothing else; whatever is stored next is another value. Pure: no database, no network.
"""

from __future__ import annotations

import struct
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar

from dicomscp.layout import Layout, Row, entries, held_in
from dicomscp.plan import QueryPlan, Return
from dicomscp.response import first_group, is_due, written
from worklist import attributes
from worklist.attributes import Attribute
from worklist.character_set import (
    DEFAULT,
    GOVERNED_VRS,
    UNICODE,
    CharacterSet,
    fits,
    is_supported,
)
from worklist.values import Value

Writing = Callable[[Sequence[Any]], bytes]
Picking = Callable[[Sequence[Any]], tuple[Any, ...]]

_STEP = attributes.find("ScheduledProcedureStepSequence")
_SPECIFIC_CHARACTER_SET = 0x00080005
_ITEM = b"\xfe\xff\x00\xe0"
_LENGTH = struct.Struct("<I").pack
_LONG_VRS = frozenset({"SQ", "UC", "UN", "UR", "UT"})
# How many elements are kept in all, and of how many bytes at most.
_MOST_KEPT = 100_000
_LONGEST_KEPT = 512


class _Unfit(Exception):
    """A text that the answer's character set does not hold."""


class Writer:
    """Writes the responses to one plan from the rows of one layout."""

    def __init__(
        self,
        plan: QueryPlan,
        layout: Layout,
        *,
        implicit_vr: bool,
        character_set: CharacterSet | None = None,
        alphabetic_only: bool = False,
    ) -> None:
        wanted = plan.character_set if character_set is None else character_set
        if not is_supported(wanted):
            wanted = DEFAULT
        self._write, self._write_in_unicode = (
            _Compiler(terms, layout, implicit_vr, alphabetic_only).identifier(plan.returns)
            for terms in (wanted, UNICODE)
        )

    def __call__(self, row: Row) -> bytes:
        """The Identifier: in the wanted character set when every text fits, else in Unicode."""
        try:
            return self._write(row)
        except _Unfit:
            return self._write_in_unicode(row)


class _Compiler:
    """Makes of what is to be returned a function that writes it, in one character set and syntax.

    Whatever is written, but for the step's item as a whole, hangs on one column or a few: it is
    kept under their values, so that a row is written by looking up one after the other.
    """

    def __init__(
        self, terms: CharacterSet, layout: Layout, implicit_vr: bool, alphabetic_only: bool
    ) -> None:
        self._terms, self._layout = terms, layout
        self._implicit_vr, self._alphabetic_only = implicit_vr, alphabetic_only
        # What is looked up under several columns: their values stand behind the row as one more.
        self._several: list[Picking] = []

    def identifier(self, returns: Sequence[Return]) -> Writing:
        whole = sorted(returns, key=_tag)
        before = self._data_set([one for one in whole if _tag(one) < _STEP.tag])
        after = self._data_set([one for one in whole if _tag(one) > _STEP.tag])
        step = next((one for one in whole if one.attribute is _STEP), None)
        item = self._data_set(step.items) if step else None
        several = tuple(self._several)
        said = self._set_of(self._terms) if self._terms else b""
        # An Identifier is never empty: one that holds nothing that was asked for says its set.
        alone = said or self._set_of(("ISO_IR 6",))

        def write(row: Sequence[Any]) -> bytes:
            wide = (*row, *[values(row) for values in several])
            # K.6-1: exactly one item for the step.
            middle = self._element_of([item(wide)], _STEP) if item else b""
            held = before(wide) + middle + after(wide)
            return said + held if held else alone

        return write

    def _set_of(self, terms: CharacterSet) -> bytes:
        value = "\\".join(terms).encode()
        value += b" " * (len(value) % 2)
        return _element(_SPECIFIC_CHARACTER_SET, "CS", value, self._implicit_vr)

    def _data_set(
        self, returns: Sequence[Return], column: Callable[[Attribute], int] | None = None
    ) -> Writing:
        """The elements of a data set, in the order of their tags; `column` says where they are."""
        parts = [self._part(returned, column) for returned in sorted(returns, key=_tag)]
        if not parts:
            return lambda row: b""
        kept = [part[0] for part in parts]
        pick = _picker([part[1] for part in parts])
        return lambda row: b"".join([of[held] for of, held in zip(kept, pick(row))])  # noqa: B905

    def _part(
        self, returned: Return, column: Callable[[Attribute], int] | None
    ) -> tuple[_Kept, int]:
        """What an element was written as, and the column under whose value that is kept."""
        attribute = returned.attribute
        if attribute.is_sequence:
            return self._sequence(returned)
        if column is None:
            if places := self._layout.places([attribute]):
                return self._listed(returned, places[attribute][1]), places[attribute][0]
            column = self._layout.column
        cut = self._alphabetic_only and attribute.vr == "PN"
        how = (is_due(returned), self._terms, self._implicit_vr, cut)
        return _elements(attribute, *how), column(attribute)

    def _listed(self, returned: Return, place: int) -> _Kept:
        """An attribute of the step whose values stand in rows of their own."""
        attribute = returned.attribute

        def write(stored: str | None) -> bytes:
            held = tuple(value for entry in entries(stored) if (value := entry[place]))
            if not held and not is_due(returned):
                return b""
            encoded = _values(attribute, held, self._terms)
            return _element(attribute.tag, attribute.vr, encoded, self._implicit_vr)

        return _Kept(write)

    def _sequence(self, returned: Return) -> tuple[_Kept, int]:
        """A sequence but the step's."""
        sequence = returned.attribute
        if places := self._layout.places(sequence.items):
            entry = self._data_set(returned.items, lambda leaf: places[leaf][1])
            column = next(iter(places.values()))[0]
            listed = _Kept(lambda stored: self._items(map(entry, entries(stored)), returned))
            return listed, column
        columns = self._layout.columns_of(sequence)
        item = self._data_set(returned.items, sequence.items.index) if columns else None

        def write(held: Sequence[Any]) -> bytes:
            # A value is unknown when it is None or "": without any there is no item.
            is_there = item and any(value is not None and value != "" for value in held)
            return self._items([item(held)] if item and is_there else [], returned)

        self._several.append(_picker(columns) if columns else lambda row: ())
        return _Kept(write), self._layout.width + len(self._several) - 1

    def _items(self, items: Iterable[bytes], returned: Return) -> bytes:
        # Of an item that holds nothing of what was asked for there is none (C.5).
        held = [item for item in items if item]
        return self._element_of(held, returned.attribute) if held or is_due(returned) else b""

    def _element_of(self, items: Sequence[bytes], sequence: Attribute) -> bytes:
        held = b"".join([_ITEM + _LENGTH(len(item)) + item for item in items])
        return _element(sequence.tag, "SQ", held, self._implicit_vr)


def _tag(returned: Return) -> int:
    return returned.attribute.tag


def _picker(columns: Sequence[int]) -> Picking:
    if len(columns) == 1:
        (column,) = columns
        return lambda row: (row[column],)
    return itemgetter(*columns)


# --- one element ----------------------------------------------------------------------------------


class _Kept(dict[Any, bytes]):
    """What was written for a value, and how the next one is."""

    # Of all together, so that what peers ask for cannot fill the memory.
    _every: ClassVar[weakref.WeakSet[_Kept]] = weakref.WeakSet()
    _number = 0

    def __init__(self, write: Callable[[Any], bytes]) -> None:
        self._write = write
        _Kept._every.add(self)

    __hash__ = object.__hash__  # type: ignore[assignment]  # each is one of its own

    def __missing__(self, value: Any) -> bytes:
        written = self._write(value)
        if len(written) <= _LONGEST_KEPT:
            _Kept._number += 1
            if _Kept._number > _MOST_KEPT:
                _Kept._number = 0
                for kept in list(_Kept._every):
                    kept.clear()
            self[value] = written
        return written


@lru_cache(maxsize=4096)
def _elements(
    attribute: Attribute, is_due: bool, terms: CharacterSet, implicit_vr: bool, cut: bool
) -> _Kept:
    """The elements of an attribute, whichever plan they are written for."""

    def write(stored: Any) -> bytes:
        held = held_in(attribute, stored)
        if not held and not is_due:
            return b""
        if cut:
            held = tuple(first_group(str(name)) for name in held)
        return _element(attribute.tag, attribute.vr, _values(attribute, held, terms), implicit_vr)

    return _Kept(write)


def _values(attribute: Attribute, held: Sequence[Value], terms: CharacterSet) -> bytes:
    vr = attribute.vr
    if vr in GOVERNED_VRS and not all(fits(str(value), terms, vr) for value in held):
        raise _Unfit
    return written(attribute, held, terms)


def _element(tag: int, vr: str, value: bytes, implicit_vr: bool) -> bytes:
    """An element (PS3.5 7.1.2, 7.1.3)."""
    if not implicit_vr and vr not in _LONG_VRS and len(value) > 0xFFFF:
        # PS3.5 6.2.2: too long for its VR's length.
        vr = "UN"
    header, length = _header(tag, vr, implicit_vr)
    return header + length(len(value)) + value


@lru_cache(maxsize=4096)
def _header(tag: int, vr: str, implicit_vr: bool) -> tuple[bytes, Callable[[int], bytes]]:
    """What stands before an element's length, and how that is written."""
    header = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit_vr:
        return header, _LENGTH
    if vr in _LONG_VRS:
        return header + vr.encode() + b"\0\0", _LENGTH
    return header + vr.encode(), struct.Struct("<H").pack
