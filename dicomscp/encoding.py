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

Part = Callable[[Sequence[Any]], bytes]

_STEP = attributes.find("ScheduledProcedureStepSequence")
_SPECIFIC_CHARACTER_SET = 0x00080005
_ITEM = b"\xfe\xff\x00\xe0"
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
    """Makes of what is to be returned functions that write it, in one character set and syntax."""

    def __init__(
        self, terms: CharacterSet, layout: Layout, implicit_vr: bool, alphabetic_only: bool
    ) -> None:
        self._terms, self._layout = terms, layout
        self._implicit_vr, self._alphabetic_only = implicit_vr, alphabetic_only

    def identifier(self, returns: Sequence[Return]) -> Part:
        data_set = self._data_set(returns, self._layout.column)
        said = self._set_of(self._terms) if self._terms else b""
        # An Identifier is never empty: one that holds nothing that was asked for says its set.
        alone = said or self._set_of(("ISO_IR 6",))
        return lambda row: said + held if (held := data_set(row)) else alone

    def _set_of(self, terms: CharacterSet) -> bytes:
        value = "\\".join(terms).encode()
        value += b" " * (len(value) % 2)
        return _element(_SPECIFIC_CHARACTER_SET, "CS", value, self._implicit_vr)

    def _data_set(self, returns: Sequence[Return], column: Callable[[Attribute], int]) -> Part:
        """The elements of a data set, in the order of their tags; `column` says where they are."""
        parts: list[Part] = []
        run: list[Return] = []
        for returned in sorted(returns, key=lambda returned: returned.attribute.tag):
            attribute = returned.attribute
            if attribute.is_sequence:
                parts += [*self._run(run, column), self._sequence(returned)]
                run = []
            elif attribute.parent is _STEP and (places := self._layout.places([attribute])):
                parts += [*self._run(run, column), self._listed(returned, *places[attribute])]
                run = []
            else:
                run.append(returned)
        parts += self._run(run, column)
        return lambda row: b"".join([part(row) for part in parts])

    def _run(self, leaves: Sequence[Return], column: Callable[[Attribute], int]) -> list[Part]:
        """Attributes in columns of their own, one behind the other: what most of a row is."""
        if not leaves:
            return []
        pick = _picker([column(leaf.attribute) for leaf in leaves])
        kept = [self._kept(leaf) for leaf in leaves]
        return [lambda row: b"".join([of[value] for of, value in zip(kept, pick(row))])]  # noqa: B905  they are as long

    def _kept(self, leaf: Return) -> _Kept:
        attribute = leaf.attribute
        cut = self._alphabetic_only and attribute.vr == "PN"
        return _elements(attribute, is_due(leaf), self._terms, self._implicit_vr, cut)

    def _listed(self, returned: Return, column: int, place: int) -> Part:
        """An attribute of the step whose values stand in rows of their own."""
        attribute = returned.attribute

        def write(stored: str | None) -> bytes:
            held = tuple(value for entry in entries(stored) if (value := entry[place]))
            if not held and not is_due(returned):
                return b""
            encoded = _values(attribute, held, self._terms)
            return _element(attribute.tag, attribute.vr, encoded, self._implicit_vr)

        kept = _Kept(write)
        return lambda row: kept[row[column]]

    def _sequence(self, returned: Return) -> Part:
        """A sequence; but for the step's, kept as a whole under all that it hangs on."""
        sequence = returned.attribute
        if sequence is _STEP:
            # K.6-1: exactly one item.
            step = self._data_set(returned.items, self._layout.column)
            return lambda row: self._element_of([step(row)], sequence)
        if places := self._layout.places(sequence.items):
            entry = self._data_set(returned.items, lambda leaf: places[leaf][1])
            listed = _Kept(
                lambda stored: self._items(map(entry, map(tuple, entries(stored))), returned)
            )
            column = next(iter(places.values()))[0]
            return lambda row: listed[row[column]]
        columns = self._layout.columns_of(sequence)
        if not columns:
            nothing = self._items([], returned)
            return lambda row: nothing
        item = self._data_set(returned.items, sequence.items.index)
        # A value is unknown when it is None or "": without any there is no item.
        alone = _Kept(lambda held: self._items([item(held)] if _any_known(held) else [], returned))
        pick = _picker(columns)
        return lambda row: alone[pick(row)]

    def _items(self, items: Iterable[bytes], returned: Return) -> bytes:
        # Of an item that holds nothing of what was asked for there is none (C.5).
        held = [item for item in items if item]
        return self._element_of(held, returned.attribute) if held or is_due(returned) else b""

    def _element_of(self, items: Sequence[bytes], sequence: Attribute) -> bytes:
        held = b"".join([_ITEM + struct.pack("<I", len(item)) + item for item in items])
        return _element(sequence.tag, "SQ", held, self._implicit_vr)


def _picker(columns: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    if len(columns) == 1:
        (column,) = columns
        return lambda row: (row[column],)
    return itemgetter(*columns)


def _any_known(held: Sequence[Any]) -> bool:
    return any(value is not None and value != "" for value in held)


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
    header = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit_vr:
        return header + struct.pack("<I", len(value)) + value
    if vr not in _LONG_VRS and len(value) > 0xFFFF:
        # PS3.5 6.2.2: too long for its VR's length.
        vr = "UN"
    if vr in _LONG_VRS:
        return header + vr.encode() + struct.pack("<HI", 0, len(value)) + value
    return header + vr.encode() + struct.pack("<H", len(value)) + value
