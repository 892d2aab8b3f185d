"""A row as the database answers it: which column holds what, and the item that it stands for.

Pure: no database, no network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import lru_cache
from typing import Any, cast

from dicomscp.matching import Item
from worklist import attributes, values
from worklist.attributes import Attribute
from worklist.values import Value

Row = tuple[Any, ...]
"""The step's id; then a column for each attribute; then one for each list of related rows. What
else was asked for stands behind them."""

_STEP = attributes.find("ScheduledProcedureStepSequence")


class Layout:
    """Where the attributes stand that a plan looks at or returns."""

    def __init__(self, needed: Iterable[Attribute], relation: Callable[[Attribute], str]) -> None:
        """`relation` names the list of related rows that an attribute stands in, "" for none."""
        self._needed = _with_items(needed, lambda sequence: bool(relation(sequence)))
        leaves = [one for one in attributes.walk() if one in self._needed and not one.is_sequence]
        self.columns = tuple(leaf for leaf in leaves if not relation(leaf))
        self.lists: dict[str, tuple[Attribute, ...]] = {}
        for leaf in leaves:
            if name := relation(leaf):
                self.lists[name] = (*self.lists.get(name, ()), leaf)
        self._column = {leaf: 1 + number for number, leaf in enumerate(self.columns)}
        self._listed = {
            leaf: (1 + len(self.columns) + number, position)
            for number, several in enumerate(self.lists.values())
            for position, leaf in enumerate(several)
        }

    def only(self, needed: Iterable[Attribute]) -> Layout:
        """The same rows, of which no more than these attributes is looked at."""
        narrowed = copy(self)
        narrowed._needed = _with_items(needed, lambda sequence: bool(self.places(sequence.items)))
        return narrowed

    def column(self, leaf: Attribute) -> int:
        """The column of an attribute that stands in one of its own."""
        return self._column[leaf]

    def columns_of(self, sequence: Attribute) -> tuple[int, ...]:
        """Those of a sequence's attributes; () when its items are rows of their own."""
        columns = [self._column.get(leaf, 0) for leaf in sequence.items]
        return tuple(columns) if all(columns) else ()

    def places(self, leaves: Iterable[Attribute]) -> dict[Attribute, tuple[int, int]]:
        """Those that are of related rows: their list's column, and the place in each of them."""
        return {leaf: self._listed[leaf] for leaf in leaves if leaf in self._listed}

    @property
    def width(self) -> int:
        """How many columns a row has."""
        return 1 + len(self.columns) + len(self.lists)

    def item(self, row: Row) -> Item:
        """The step that the row is of."""
        return self._item(attributes.TABLE, row, step=row[0])

    def _item(self, table: Sequence[Attribute], row: Row, *, step: int | None = None) -> Item:
        leaves: dict[Attribute, tuple[Value, ...]] = {}
        items: dict[Attribute, tuple[Item, ...]] = {}
        for attribute in table:
            if attribute not in self._needed:
                continue
            if attribute.is_sequence:
                items[attribute] = self._items(attribute, row)
            elif place := self._listed.get(attribute):
                column, position = place
                held = (entry[position] for entry in entries(row[column]))
                leaves[attribute] = tuple(value for value in held if value)
            else:
                leaves[attribute] = held_in(attribute, row[self._column[attribute]])
        return Item(leaves, items, step)

    def _items(self, sequence: Attribute, row: Row) -> tuple[Item, ...]:
        if sequence is not _STEP and (places := self.places(sequence.items)):
            column = next(iter(places.values()))[0]
            return tuple(
                Item({leaf: held_in(leaf, one[place]) for leaf, (_, place) in places.items()}, {})
                for one in entries(row[column])
            )
        inner = self._item(sequence.items, row)
        # K.6-1: exactly one item for the step; elsewhere an item without a value is none.
        return (inner,) if sequence is _STEP or any(inner.values.values()) else ()


def _with_items(
    needed: Iterable[Attribute], is_listed: Callable[[Attribute], bool]
) -> set[Attribute]:
    """These, and of a sequence of one item all attributes: they show whether there is one."""
    found = set(needed)
    for sequence in [one for one in found if one.is_sequence]:
        if sequence is not _STEP and not is_listed(sequence):
            found |= set(sequence.items)
    return found


def held_in(attribute: Attribute, stored: Any) -> tuple[Value, ...]:
    """The values that a column holds."""
    if stored is None or stored == "":
        return ()
    return values.split(stored) if attribute.is_multi_valued else (stored,)


@lru_cache(maxsize=4096)
def entries(stored: str | None) -> Sequence[Sequence[str]]:
    """The related rows of a list's column, in their order: JSON, an array of arrays."""
    return cast("list[list[str]]", json.loads(stored)) if stored else ()
