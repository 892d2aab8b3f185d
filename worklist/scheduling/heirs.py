"""What the survivor of a merge takes over of the patient who is merged into it, and gives back.

Nothing is saved here. What was known of either of the two is known of the survivor: several values
stand in one column, what was unknown is filled in, and of two answers that differ the one stands
that does no harm.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from worklist import values
from worklist.audit import trail
from worklist.models import Patient

# An allergy that was noted with either of the two is one of the patient's.
_ADDED = ("allergies", "medical_alerts", "other_names")
_NOT_FILLED = frozenset(
    {*_ADDED, "name", "patient_id", "issuer", "other_ids", "is_unknown", "merged_into"}
    | {"pregnancy_status", "special_needs"}
)
# Pregnancy, from what asks for least care to what asks for most; no answer and "unknown" first.
_CARE = (None, 4, 1, 2, 3)

Former = dict[str, Any]


def take_over(survivor: Patient, merged: Patient) -> Former:
    """Change the survivor; answer what it takes to give all of it back."""
    return {
        **_add(survivor, merged),
        **_put(survivor, _filled(survivor, merged)),
    }


def _put(survivor: Patient, columns: dict[str, Any]) -> Former:
    former = {}
    for column, value in columns.items():
        was = getattr(survivor, column)
        if was != value:
            former[column] = {"was": trail.plain(was), "became": trail.plain(value)}
            setattr(survivor, column, value)
    return former


def _filled(survivor: Patient, merged: Patient) -> dict[str, Any]:
    """The columns of one value that the survivor holds afterwards."""
    filled = {
        "pregnancy_status": max(
            survivor.pregnancy_status, merged.pregnancy_status, key=_CARE.index
        ),
        "special_needs": _both(survivor.special_needs, merged.special_needs),
    }
    for field in Patient._meta.concrete_fields:
        column = field.name
        if not field.editable or field.primary_key or column in _NOT_FILLED:
            continue
        # The sex O of an unknown patient says that nobody knew.
        is_guess = column == "sex" and merged.is_unknown and merged.sex == "O"
        if getattr(survivor, column) in (None, "") and not is_guess:
            filled[column] = getattr(merged, column)
    return filled


def _both(one: str, other: str) -> str:
    if not other or other in one:
        return one
    if one in other:
        return other
    both = f"{one}; {other}"
    if len(both) > values.MAX_LENGTH["LO"]:
        raise ValidationError(
            _(
                "The special needs of the two are longer than %(limit)d characters together: "
                "shorten one of them first."
            )
            % {"limit": values.MAX_LENGTH["LO"]}
        )
    return both


# --- columns of several values --------------------------------------------------------------------


def _brought(merged: Patient) -> dict[str, tuple[str, ...]]:
    """What this patient adds to the survivor's values, by column."""
    taken = {column: values.split(getattr(merged, column)) for column in _ADDED}
    ids = () if merged.is_unknown else (merged.patient_id,)
    names = () if merged.is_unknown else (merged.name,)
    return {
        **taken,
        "other_ids": (*ids, *values.split(merged.other_ids)),
        "other_names": (*names, *taken["other_names"]),
    }


def _add(survivor: Patient, merged: Patient) -> Former:
    former: Former = {}
    for column, brought in _brought(merged).items():
        held = values.split(getattr(survivor, column))
        own = {*held, survivor.patient_id, survivor.name}
        added = [value for value in dict.fromkeys(brought) if value not in own]
        if added:
            former[column] = values.join(list(held))
            setattr(survivor, column, values.join([*held, *added]))
    return former


def give_back(survivor: Patient, merged: Patient, former: Former) -> None:
    """Take out what came with the merge; what somebody has noted since stays."""
    brought = _brought(merged)
    for column, was in former.items():
        if isinstance(was, dict):
            if trail.plain(getattr(survivor, column)) == was["became"]:
                field = Patient._meta.get_field(column)
                setattr(survivor, column, field.to_python(was["was"]))  # type: ignore[union-attr]
            continue
        own = set(values.split(was))
        kept = [
            value
            for value in values.split(getattr(survivor, column))
            if value in own or value not in brought[column]
        ]
        setattr(survivor, column, values.join(kept))
