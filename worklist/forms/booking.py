"""The fields of an exam that is being booked, and what the catalogue fills into them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import prefetch_related_objects
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from worklist import clock, values
from worklist.dates import parse_day
from worklist.forms.patient import pregnancy_choices
from worklist.forms.text import DayField, DicomField, PersonField, TimeOfDayField
from worklist.models import OrderSet, ProcedureType, Station
from worklist.scheduling import slots
from worklist.views.asked import is_number

_DAY = dt.timedelta(days=1)


def urgencies() -> list[tuple[str, str]]:
    return [("ROUTINE", _("Routine")), ("HIGH", _("Urgent")), ("STAT", _("Emergency"))]


class ReasonField(DicomField):
    """Why the exam is asked for: a line; there is another field for what does not fit."""

    def run_validators(self, value: str) -> None:
        limit = values.MAX_LENGTH[self.vr]
        if len(value) > limit:
            raise forms.ValidationError(
                _(
                    "Reason is %(count)d characters; it is sent as %(limit)d. Put the rest into "
                    "“History”."
                )
                % {"count": len(value), "limit": limit}
            )
        super().run_validators(value)


class VisitForm(forms.Form):
    """What is the same for all exams of the visit."""

    urgency = forms.ChoiceField(
        label=gettext_lazy("Urgency"),
        choices=urgencies,
        initial="ROUTINE",
        widget=forms.RadioSelect,
    )
    referring = PersonField(label=gettext_lazy("Referring physician"))
    reason = ReasonField("LO", label=pgettext_lazy("for the exam", "Reason"), counts=True)
    history = DicomField(
        "LT",
        label=pgettext_lazy("of the patient", "History"),
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    contrast = forms.BooleanField(label=gettext_lazy("A contrast agent is given"), required=False)
    contrast_agent = DicomField("LO", label=gettext_lazy("Contrast agent"))
    creatinine = DicomField("SH", label=gettext_lazy("Creatinine"))
    creatinine_date = DayField(label=gettext_lazy("Measured on"), required=False)
    pregnancy = forms.TypedChoiceField(
        label=gettext_lazy("Pregnancy"),
        choices=pregnancy_choices,
        coerce=int,
        empty_value=None,
        required=False,
    )
    accession_number = DicomField(
        "SH",
        label=gettext_lazy("Accession number"),
        help_text=gettext_lazy("empty: made when it is saved"),
    )
    placer_number = DicomField("SH", label=gettext_lazy("Placer order number"))
    admission_id = DicomField("LO", label=gettext_lazy("Admission ID"))
    ward = DicomField("LO", label=gettext_lazy("Ward or room"))
    one_request = forms.BooleanField(
        label=gettext_lazy("One accession number for the whole visit"),
        required=False,
        initial=True,
    )

    # What says nothing unless a contrast agent is given.
    CONTRAST = ("contrast_agent", "creatinine", "creatinine_date")
    DETAILS = ("accession_number", "placer_number", "admission_id", "ward")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["creatinine"].label = _("Creatinine in %(unit)s") % {
            "unit": settings.CREATININE_UNIT
        }

    def clean(self) -> None:
        data = self.cleaned_data
        if not data.get("contrast"):
            for name in self.CONTRAST:
                if data.get(name):
                    told = {"tick": self.fields["contrast"].label}
                    self.add_error(name, _("Tick “%(tick)s”, or empty this field.") % told)
        elif data.get("creatinine_date") and not data.get("creatinine"):
            self.add_error("creatinine", _("Enter the creatinine, or empty its date."))

    @property
    def comments(self) -> str:
        """What the technologist is told about the step."""
        data = self.cleaned_data
        value = data.get("creatinine")
        if not value:
            return ""
        measured = data.get("creatinine_date")
        day = f" ({measured:%Y-%m-%d})" if measured else ""
        # Who writes a unit beside the number means that one.
        unit = "" if value[-1].isalpha() else f" {settings.CREATININE_UNIT}"
        return f"Creatinine: {value}{unit}{day}"


class StationChoice(forms.ModelChoiceField):
    def label_from_instance(self, station: Any) -> str:
        if not station.name:
            return str(station.ae_title)
        return f"{station.name} ({station.ae_title})"


class PlaceForm(forms.Form):
    """Where and when one procedure is to be; `filled_…` is what the catalogue or we proposed."""

    station = StationChoice(Station.objects.none(), label=gettext_lazy("Scanner"), empty_label=None)
    day = DayField(label=gettext_lazy("Day"))
    time = TimeOfDayField(label=gettext_lazy("Time"))
    minutes = forms.IntegerField(label=gettext_lazy("Minutes"), min_value=1, max_value=24 * 60)
    filled_station = forms.CharField(required=False, widget=forms.HiddenInput)
    filled_day = forms.CharField(required=False, widget=forms.HiddenInput)
    filled_time = forms.CharField(required=False, widget=forms.HiddenInput)
    filled_minutes = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(
        self, *args: Any, kind: ProcedureType, stations: Sequence[Station], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.kind = kind
        field = self.fields["station"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Station.objects.filter(is_active=True)
        # One read for all forms, those that fit first.
        fitting = fitting_stations(kind, stations)
        others = [station for station in stations if station not in fitting]
        self.stations = {str(station.pk): station for station in (*fitting, *others)}

        def choices(some: Sequence[Station]) -> list[Any]:
            return [(str(each.pk), field.label_from_instance(each)) for each in some]

        unfit = [(_("Does not do this"), choices(others))] if others else []
        field.choices = [*choices(fitting), *unfit]

    def clean_station(self) -> Station:
        station: Station = self.cleaned_data["station"]
        return self.stations.get(str(station.pk), station)

    @property
    def catalogue_minutes(self) -> int | None:
        """What the catalogue says, when the field says something else."""
        said = self["minutes"].value()
        return None if str(said) == str(self.kind.minutes) else self.kind.minutes

    @property
    def start(self) -> dt.datetime:
        return dt.datetime.combine(self.cleaned_data["day"], self.cleaned_data["time"])


def fitting_stations(kind: ProcedureType, stations: Sequence[Station]) -> list[Station]:
    """The stations on which it can be done, the catalogue's own first."""
    allowed = {station.pk for station in kind.allowed_stations.all()}
    found = [
        station
        for station in stations
        if (station.pk in allowed if allowed else station.modality in (kind.modality, ""))
    ]
    return sorted(found, key=lambda station: station.pk != kind.default_station_id)


@dataclass(frozen=True)
class Chosen:
    """An entry of the catalogue that was chosen, as the procedures that it books."""

    key: str
    label: str
    code: str
    kinds: tuple[ProcedureType, ...]

    @property
    def uses_contrast(self) -> bool:
        return any(kind.uses_contrast for kind in self.kinds)

    @property
    def asks_pregnancy(self) -> bool:
        return any(kind.asks_pregnancy for kind in self.kinds)


def chosen(key: str) -> Chosen | None:
    """The entry that this key names: "p12" is a procedure, "s3" an order set."""
    kind, number = key[:1], key[1:]
    if not is_number(number):
        return None
    types = ProcedureType.objects.filter(is_active=True).select_related("requested_procedure_code")
    if kind == "p":
        one = types.filter(pk=number).first()
        if one is None:
            return None
        prefetch_related_objects([one], "allowed_stations")
        return Chosen(key, one.description, one.code, (one,))
    several = OrderSet.objects.filter(is_active=True, pk=number).first() if kind == "s" else None
    if several is None:
        return None
    kinds = tuple(
        types.filter(order_sets=several)
        .order_by("ordersetitem__position")
        .prefetch_related("allowed_stations")
    )
    return Chosen(key, several.name, several.code, kinds)


def fill(
    data: Mapping[str, str],
    kinds: Sequence[ProcedureType],
    stations: Sequence[Station],
    *,
    others: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What the fields of the places are to hold: what was typed stays, the rest is proposed.

    The first free time of a scanner is proposed, one procedure after the other. `others` are the
    choices that the address came with.
    """
    made: dict[str, str] = {}
    after = clock.now()
    for number, kind in enumerate(kinds):
        given = {name: data.get(f"{number}-{name}", "") for name in PlaceForm.base_fields}
        if number == 0 and others:
            given |= {name: value for name, value in others.items() if not given[name]}

        def typed(name: str, given: dict[str, str] = given) -> str:
            """What a person put there: not what we had proposed."""
            return "" if given[name] == given[f"filled_{name}"] else given[name]

        place = {"minutes": str(kind.minutes), **_station(kind, stations, typed("station"))}
        place["minutes"] = typed("minutes") or place["minutes"]
        place |= _start(place, stations, day=typed("day"), time=typed("time"), after=after)
        place |= {
            "filled_minutes": str(kind.minutes),
            "filled_station": "" if typed("station") else place["station"],
            "filled_day": "" if typed("day") else place["day"],
            "filled_time": "" if typed("time") else place["time"],
        }
        booked, lasts = parse_day(place["day"]), _minutes(place["minutes"])
        if place["time"] and booked and lasts:
            try:
                start = dt.datetime.combine(booked, dt.time.fromisoformat(place["time"]))
                after = start + dt.timedelta(minutes=lasts)
            except ValueError:
                pass
        made |= {f"{number}-{name}": value for name, value in place.items()}
    return made


def _station(kind: ProcedureType, stations: Sequence[Station], typed: str) -> dict[str, str]:
    fitting = fitting_stations(kind, stations)
    if typed or not fitting:
        return {"station": typed}
    return {"station": str(fitting[0].pk)}


def _minutes(text: str) -> int | None:
    """The minutes of an exam, None when these are none."""
    field = PlaceForm.base_fields["minutes"]
    try:
        minutes: int = field.clean(text)
    except forms.ValidationError:
        return None
    return minutes


def _start(
    place: Mapping[str, str],
    stations: Sequence[Station],
    *,
    day: str,
    time: str,
    after: dt.datetime,
) -> dict[str, str]:
    """Day and time: those that were typed, else the scanner's first free ones."""
    if time:
        return {"day": day or f"{after:%Y-%m-%d}", "time": time}
    station = next((each for each in stations if str(each.pk) == place["station"]), None)
    wanted = parse_day(day) if day else after.date()
    minutes = _minutes(place["minutes"])
    if wanted is None or minutes is None:
        return {"day": day, "time": ""}
    if station is None:
        return {"day": f"{wanted:%Y-%m-%d}", "time": ""}
    begin = max(after, dt.datetime.combine(wanted, dt.time()))
    if day:
        ((_mine, starts),) = slots.free_starts([station], wanted, minutes, after=begin, count=1)
    else:
        starts = slots.next_free(station, begin, minutes)
    if not starts:
        return {"day": f"{wanted:%Y-%m-%d}", "time": ""}
    return {"day": f"{starts[0]:%Y-%m-%d}", "time": f"{starts[0]:%H:%M}"}
