"""What a booked exam is to be: an entry of the catalogue, a scanner, minutes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from worklist.forms.booking import StationChoice, fitting_stations
from worklist.models import ProcedureType, ScheduledProcedureStep, Station
from worklist.scheduling import Plan, held


class PlanForm(forms.Form):
    """`was_…` is what was shown first, by which one sees what the person has changed.

    `filled_kind` is the entry by which scanner and minutes were filled in last.
    """

    kind = forms.ModelChoiceField(
        ProcedureType.objects.none(), label=gettext_lazy("Exam"), required=False
    )
    station = StationChoice(
        Station.objects.none(), label=gettext_lazy("Scanner"), required=False, empty_label=None
    )
    minutes = forms.IntegerField(label=gettext_lazy("Minutes"), min_value=1, max_value=24 * 60)
    was_kind = forms.CharField(required=False, widget=forms.HiddenInput)
    was_station = forms.CharField(required=False, widget=forms.HiddenInput)
    was_minutes = forms.CharField(required=False, widget=forms.HiddenInput)
    filled_kind = forms.CharField(required=False, widget=forms.HiddenInput)

    FIELDS = ("kind", "station", "minutes")

    def __init__(self, step: ScheduledProcedureStep, data: Any = None) -> None:
        holds = held.of(step)
        self.held_now = {
            "kind": str(holds.kind.pk) if holds.kind else "",
            "station": str(holds.stations[0].pk) if holds.stations else "",
            "minutes": str(held.minutes_of(step, holds.kind)),
        }
        was = {f"was_{name}": value for name, value in self.held_now.items()}
        super().__init__(
            data, prefix="plan", initial={**self.held_now, **was, "filled_kind": was["was_kind"]}
        )
        kinds = ProcedureType.objects.filter(is_active=True)
        kind: Any = self.fields["kind"]
        own_kind = [holds.kind.pk] if holds.kind else []
        kind.queryset = kinds | ProcedureType.objects.filter(pk__in=own_kind)
        kind.label_from_instance = lambda each: f"{each.description} · {each.modality}"
        kind.empty_label = step.description or step.requested_procedure.description or "–"
        if holds.kind:
            kind.empty_label, kind.required = None, True
        station: Any = self.fields["station"]
        own = [each.pk for each in holds.stations]
        station.queryset = Station.objects.filter(is_active=True) | Station.objects.filter(
            pk__in=own
        )
        if not own:
            station.empty_label = _("no scanner")

    @property
    def is_changed(self) -> bool:
        """Whether the person wants another exam, scanner or length. Asked once it is valid."""
        data = self.data
        return any(
            data.get(self.add_prefix(name), "") != data.get(self.add_prefix(f"was_{name}"), "")
            for name in self.FIELDS
        )

    @property
    def plan(self) -> Plan:
        data = self.cleaned_data
        return Plan(data["kind"], data["station"], data["minutes"])


def filled(step: ScheduledProcedureStep, data: Any) -> Any:
    """The form as it was sent, with what another entry of the catalogue brings along.

    Its minutes, and a scanner that does it, once: what the person types afterwards stays.
    """
    data = data.copy()
    form = PlanForm(step, data)
    form.is_valid()
    kind: ProcedureType | None = form.cleaned_data.get("kind")
    if kind is None or data.get("plan-filled_kind") == str(kind.pk):
        return data
    data["plan-filled_kind"] = str(kind.pk)
    data["plan-minutes"] = str(kind.minutes)
    fitting = fitting_stations(kind, list(Station.objects.filter(is_active=True)))
    keys = [str(station.pk) for station in fitting]
    if keys and data.get("plan-station") not in keys:
        data["plan-station"] = keys[0]
    return data


def rebased(step: ScheduledProcedureStep, data: Any) -> None:
    """Take into `data`, sent on an old version, what the step holds now where nobody touched it."""
    now = PlanForm(step).held_now
    for name in PlanForm.FIELDS:
        was = data.get(f"plan-was_{name}")
        if was is None:
            continue
        if data.get(f"plan-{name}") == was:
            data[f"plan-{name}"] = now[name]
        data[f"plan-was_{name}"] = now[name]
