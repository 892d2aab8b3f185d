"""Scanners: the stations on which exams are booked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from worklist import catalogue, clock
from worklist.actor import actor
from worklist.modalities import modalities
from worklist.models import Station, StepStation
from worklist.roles import needs
from worklist.scheduling import FINAL
from worklist.views.setup.editing import Page, SetupForm, edit

PERMISSION = "worklist.manage_stations"


def open_exams(stations: Sequence[Station] | None = None) -> dict[int, int]:
    """How many exams from today on are still to be done, by the id of the scanner."""
    booked = StepStation.objects.filter(step__start_date__gte=clock.today())
    if stations is not None:
        booked = booked.filter(station__in=stations)
    counted = booked.exclude(step__status__in=FINAL).values("station").annotate(n=Count("step"))
    return dict(counted.order_by().values_list("station", "n"))


class ScannerForm(SetupForm):
    """What people set of a scanner."""

    class Meta:
        model = Station
        fields: tuple[str, ...] = (
            "name",
            "ae_title",
            "modality",
            "location",
            "networks",
            "test_host",
            "test_port",
            "opening_hours",
            "is_allowed",
            "is_active",
        )
        labels = {
            "name": gettext_lazy("Name"),
            "ae_title": gettext_lazy("AE title"),
            "modality": gettext_lazy("Modality"),
            "location": gettext_lazy("Location"),
            "networks": gettext_lazy("Addresses"),
            "test_host": gettext_lazy("Address for tests"),
            "test_port": gettext_lazy("Port for tests"),
            "opening_hours": gettext_lazy("Opening hours"),
            "is_allowed": gettext_lazy("May ask: its calls are answered"),
            "is_active": gettext_lazy("In use: exams can be booked on it"),
        }
        help_texts = {
            "name": gettext_lazy("What people call it: CT 1, ground floor"),
            "ae_title": gettext_lazy(
                "The name under which the scanner asks for its list, exactly as set there: capital "
                "and small letters count"
            ),
            "location": gettext_lazy("The room, as scanners receive it"),
            "networks": gettext_lazy(
                "Where it calls from, if you wish to check that: 10.1.2.31 or 10.1.2.0/24, with a "
                "comma between several. Empty: from anywhere"
            ),
            "test_host": gettext_lazy(
                "Where the scanner answers, if it does: a name or an address. Only the test of the "
                "connection calls it"
            ),
            "test_port": gettext_lazy("Often 104, 4006 or 11112"),
            "opening_hours": "",
            "is_allowed": "",
            "is_active": "",
        }

    modality = forms.ChoiceField(required=False, label=gettext_lazy("Modality"))
    titles = forms.CharField(
        required=False,
        label=gettext_lazy("Also known as"),
        help_text=gettext_lazy("Further AE titles under which it calls or asks, one a line"),
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
    )
    list_labels = {"titles": gettext_lazy("Also known as")}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        choices = modalities(self.instance.modality)
        field = self.fields["modality"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "–"), *choices]
        hours = self.fields.get("opening_hours")
        if isinstance(hours, forms.ModelChoiceField):
            hours.empty_label = _("Always open")
        if self.instance.pk is not None:
            self.initial["titles"] = "\n".join(map(str, self.instance.titles.all()))
        self.was_active = self.instance.pk is not None and self.instance.is_active

    def clean_titles(self) -> list[str]:
        lines = (line.strip() for line in self.cleaned_data["titles"].splitlines())
        return [line for line in lines if line]

    def warnings(self) -> list[str]:
        if not self.was_active or self.cleaned_data["is_active"]:
            return []
        count = open_exams([self.instance]).get(self.instance.pk, 0)
        if not count:
            return []
        told = ngettext(
            "%(count)d exam is still booked on it from today on and stays on its list. Move it "
            "first, or save all the same.",
            "%(count)d exams are still booked on it from today on and stay on its list. Move them "
            "first, or save all the same.",
            count,
        )
        return [told % {"count": count}]


@needs(PERMISSION)
def scanners(request: HttpRequest) -> HttpResponse:
    """All scanners, those that are in use first."""
    counts = open_exams()
    rows = [
        {"station": station, "open_exams": counts.get(station.pk, 0)}
        for station in Station.objects.select_related("opening_hours").order_by(
            "-is_active", "name", "ae_title"
        )
    ]
    return render(request, "setup/scanners.html", {"rows": rows})


@needs(PERMISSION)
def scanner(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """One scanner, or a new one."""
    station = get_object_or_404(Station, pk=pk) if pk else Station()
    title = station.friendly_name if pk else _("New scanner")
    # A caller that is not set up yet comes with what is known of it.
    known = {} if pk else {name: request.GET.get(name, "") for name in ("ae_title", "networks")}
    form = ScannerForm(request.POST or None, instance=station, initial=known)
    return edit(
        request,
        form,
        lambda seen: catalogue.save_station(
            form.instance, titles=form.cleaned_data["titles"], seen=seen, by=actor(request)
        ),
        Page("setup/scanner.html", "setup-scanners", title),
        open_exams=open_exams([station]).get(station.pk, 0) if pk else 0,
        station=station,
    )
