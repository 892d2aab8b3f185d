"""Patients are amended, and two that are one are merged; a merge can be taken back exactly.

A merged patient keeps its row, and leads to the survivor. Raises StaleVersion, ValidationError.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import ImagingServiceRequest, Patient, PatientMerge
from worklist.scheduling.heirs import give_back, take_over
from worklist.scheduling.versions import check_all, locked


def resolve(patient: Patient, *, for_booking: bool = False) -> Patient:
    """The patient that this one was merged into, through all merges; else the patient.

    With `for_booking` the row is ours until the transaction ends: nobody merges it meanwhile.
    """
    while True:
        if for_booking:
            rows = Patient.objects.select_for_update(no_key=True)
            into = rows.values_list("merged_into", flat=True).get(pk=patient.pk)
        else:
            into = patient.merged_into_id
        if into is None:
            return patient
        patient = Patient.objects.get(pk=into)


def amend(patient: Patient, *, version: int, by: Actor, reason: str = "") -> Patient:
    """Save what a person has changed in a patient."""
    with transaction.atomic():
        now = locked(patient, version=version)
        if now.merged_into_id:
            raise ValidationError(_("This patient was merged into another: change that one."))
        patient.full_clean()
        trail.save(patient, by=by, reason=reason)
        return patient


# --- merging --------------------------------------------------------------------------------------


def merge(
    survivor: Patient,
    merged: Patient,
    *,
    by: Actor,
    reason: str = "",
    versions: tuple[int, int] | None = None,
) -> PatientMerge:
    """Make one patient of two: the requests of the merged one are the survivor's from now on.

    `versions` are those of the two as a person saw them.
    """
    with transaction.atomic():
        seen = dict(zip((survivor.pk, merged.pk), versions or (None, None), strict=True))
        rows = _held(survivor.pk, merged.pk)
        check_all([(row, seen[pk]) for pk, row in rows.items()])
        survivor, merged = _may_be_merged(rows, survivor.pk, merged.pk)
        requests = list(ImagingServiceRequest.objects.filter(patient=merged).order_by("pk"))
        _refuse_same_accession_numbers(survivor, requests)
        done = PatientMerge(
            survivor=survivor,
            merged=merged,
            actor=by.name,
            request_ids=[request.pk for request in requests],
            former=take_over(survivor, merged),
        )
        for request in requests:
            request.patient = survivor
            trail.save(request, by=by, reason=reason)
        survivor.full_clean()
        trail.save(survivor, by=by, reason=reason)
        merged.merged_into = survivor
        trail.save(merged, by=by, reason=reason)
        trail.save(done, by=by, reason=reason)
        return done


def _held(*keys: int) -> dict[int, Patient]:
    """These patients, ours until the transaction ends; in the order of their keys, as anywhere."""
    rows = Patient.objects.select_for_update().filter(pk__in=keys).order_by("pk")
    return {row.pk: row for row in rows}


def _may_be_merged(rows: dict[int, Patient], survivor: int, merged: int) -> tuple[Patient, Patient]:
    if survivor == merged:
        raise ValidationError(_("A patient cannot be merged into itself."))
    for row in rows.values():
        if row.merged_into_id:
            raise ValidationError(
                _("%(id)s was merged into another patient already.") % {"id": row.patient_id}
            )
    return rows[survivor], rows[merged]


def _refuse_same_accession_numbers(
    survivor: Patient, requests: list[ImagingServiceRequest]
) -> None:
    numbers = {request.accession_number for request in requests} - {""}
    same = ImagingServiceRequest.objects.filter(patient=survivor, accession_number__in=numbers)
    number = same.values_list("accession_number", flat=True).first()
    if number:
        raise ValidationError(
            _("Both patients have an order with the accession number %(number)s.")
            % {"number": number}
        )


# --- taking a merge back --------------------------------------------------------------------------


def newest_merge(patient: Patient) -> PatientMerge | None:
    """The newest merge of this patient that stands, whichever of the two it was."""
    merges = PatientMerge.objects.filter(undone_at=None)
    return merges.filter(Q(survivor=patient) | Q(merged=patient)).first()


def can_be_undone(merge: PatientMerge) -> bool:
    """Whether nothing was merged on top of it: merges are taken back from the newest on."""
    return merge.undone_at is None and all(
        newest_merge(patient) == merge for patient in (merge.survivor, merge.merged)
    )


def unmerge(merge: PatientMerge, *, by: Actor, reason: str = "") -> PatientMerge:
    """Take a merge back: what moved goes back, what was booked since stays with the survivor."""
    with transaction.atomic():
        rows = _held(merge.survivor_id, merge.merged_id)
        merge = PatientMerge.objects.select_for_update().get(pk=merge.pk)
        merge.survivor, merge.merged = rows[merge.survivor_id], rows[merge.merged_id]
        if merge.undone_at is not None:
            raise ValidationError(_("This merge was taken back already."))
        if not can_be_undone(merge):
            raise ValidationError(
                _("Another merge of this patient came later: take that one back first.")
            )
        survivor, merged = merge.survivor, merge.merged
        moved = ImagingServiceRequest.objects.filter(pk__in=merge.request_ids, patient=survivor)
        for request in moved.order_by("pk"):
            request.patient = merged
            trail.save(request, by=by, reason=reason)
        give_back(survivor, merged, merge.former)
        survivor.full_clean()
        trail.save(survivor, by=by, reason=reason)
        merged.merged_into = None
        trail.save(merged, by=by, reason=reason)
        merge.undone_at = timezone.now()
        trail.save(merge, by=by, reason=reason)
        return merge
