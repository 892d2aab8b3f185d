"""A form that was filled from an old version of its row is told, and not saved.

Rows without a version are told by the trail: their last change is their version.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _

from worklist import changes
from worklist.admin.nonsense import is_number
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Snapshot
from worklist.models.versions import Versioned
from worklist.scheduling import StaleVersion, versions

FIELD = "seen"


def last_change(model: type[models.Model], pk: object) -> int:
    """The number of the last change that was signed for this row; 0 when there is none."""
    newest = _changes_of(model, pk).values_list("pk", flat=True).first()
    return newest or 0


def _changes_of(model: type[models.Model], pk: object) -> models.QuerySet[AuditEvent]:
    return AuditEvent.objects.filter(
        model=model._meta.label_lower, object_id=str(pk), action="change"
    ).order_by("-pk")


class SeenForm(forms.ModelForm):
    """Sends back, unseen, which version of the row it was filled from.

    Whoever shows the row sets its `seen`, read before the row itself: a change that comes between
    then counts as one that this person has not seen.
    """

    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if FIELD in self.fields:
            self.initial[FIELD] = getattr(self.instance, FIELD, "")

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if not self.instance._state.adding:
            self._refuse_if_old(self.cleaned_data.get(FIELD, ""))
        return cleaned

    def _refuse_if_old(self, seen: str) -> None:
        """The row is ours from here on until the page's transaction ends."""
        row: Any = self.instance
        now = type(row)._base_manager.select_for_update().filter(pk=row.pk).first()
        if now is None:
            raise ValidationError(_("Somebody has deleted this meanwhile. Nothing was saved."))
        if not is_number(seen):
            raise ValidationError(
                _("This form does not say which version it shows. Load the page again.")
            )
        version, told = _changed_since(now, int(seen))
        if told:
            # Whoever has been told, and saves again, means it.
            data: Any = self.data.copy()  # type: ignore[attr-defined]
            data[self.add_prefix(FIELD)] = str(version)
            self.data = data
            raise ValidationError(told)


def _changed_since(row: models.Model, seen: int) -> tuple[int, str]:
    """The row's version, and who has changed what since this one; "" when nobody has."""
    if isinstance(row, Versioned):
        try:
            versions.check(row, version=seen)
        except StaleVersion as stale:
            before = {change.column: change.before for change in stale.changes}
            after = {change.column: change.after for change in stale.changes}
            return row.version, _tell(row, stale.actor, before, after)
        return row.version, ""
    newest = last_change(type(row), row.pk)
    if newest == seen:
        return newest, ""
    before, after = {}, {}
    actor = ""
    for event in _changes_of(type(row), row.pk).filter(pk__gt=seen).order_by("pk"):
        before, after, actor = {**event.before, **before}, after | event.after, event.actor
    return newest, _tell(row, actor, before, after)


def _tell(row: models.Model, actor: str, before: Snapshot, after: Snapshot) -> str:
    told = changes.compare(type(row), before, after)
    what = ", ".join(f"{change.label} {change.before or '–'} → {change.after}" for change in told)
    return _(
        "%(who)s changed this meanwhile (%(what)s). Nothing was saved. "
        "Look at the new version, then save again."
    ) % {"who": actor or _("Somebody"), "what": what or "–"}
