"""What a scanner sees: its rules in words, and beside them what it would get with them now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from dicomscp import asked, preview, stations
from dicomscp.doubts import Doubt, Kind
from dicomscp.matching import Item
from dicomscp.models import Query
from dicomscp.preview import Preview
from dicomscp.scope import IGNORABLE, OPEN_STATUSES, Rules
from worklist import attributes, catalogue, clock
from worklist.actor import actor
from worklist.attributes import Attribute
from worklist.audit import trail
from worklist.models import Sees, Station, StepStatus
from worklist.models.catalogue import character_sets
from worklist.roles import needs
from worklist.views.setup.editing import Page, SetupForm, edit

PERMISSIONS = (
    "worklist.manage_stations",
    "worklist.view_scheduledprocedurestep",
    "worklist.view_patient",
)
_MOST_SHOWN = 100
_STEP = attributes.find("ScheduledProcedureStepSequence")
_DATE = attributes.find(_STEP.keyword, "ScheduledProcedureStepStartDate")
_TIME = attributes.find(_STEP.keyword, "ScheduledProcedureStepStartTime")
_TITLE = attributes.find(_STEP.keyword, "ScheduledStationAETitle")
_DESCRIPTION = attributes.find(_STEP.keyword, "ScheduledProcedureStepDescription")
_NAME = attributes.find("PatientName")


class ShownForm(SetupForm):
    """The rules of one scanner."""

    class Meta:
        model = Station
        fields = (
            "sees",
            "calling_title_counts",
            "hours_before",
            "hours_after",
            "keys_override_window",
            "match_limit",
            "character_set",
            "alphabetic_only",
            "ignored_keys",
        )
        labels = {
            "calling_title_counts": gettext_lazy(
                "When it names no scanner, it asks for its own exams"
            ),
            "hours_before": gettext_lazy("Hours back"),
            "hours_after": gettext_lazy("Hours ahead"),
            "keys_override_window": gettext_lazy(
                "Beyond these hours, too, when it asks for a patient, an accession number or a "
                "procedure"
            ),
            "match_limit": gettext_lazy("Most exams in one answer"),
            "character_set": gettext_lazy("Character set"),
            "alphabetic_only": gettext_lazy("Send names in Latin letters only, for old consoles"),
        }
        help_texts = {
            "sees": "",
            "calling_title_counts": "",
            "hours_before": gettext_lazy("Empty: however old"),
            "hours_after": gettext_lazy("Empty: however far"),
            "keys_override_window": "",
            "match_limit": gettext_lazy("Empty: what the server is set to"),
            "character_set": gettext_lazy("Leave it unless the scanner shows names wrongly"),
            "alphabetic_only": "",
        }

    sees = forms.ChoiceField(
        label=gettext_lazy("It is shown"), widget=forms.RadioSelect, choices=Sees.choices
    )
    shown_statuses = forms.MultipleChoiceField(
        required=False,
        label=gettext_lazy("Exams that are"),
        widget=forms.CheckboxSelectMultiple,
        choices=StepStatus.choices,
    )
    modality_aliases = forms.CharField(
        required=False,
        label=gettext_lazy("Modalities that count as another"),
        help_text=gettext_lazy(
            "What it asks for and what counts as that, one pair a line: CR=DX shows it the exams "
            "of DX when it asks for CR"
        ),
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
    )
    ignored_keys = forms.MultipleChoiceField(
        required=False,
        label=gettext_lazy("Ignore what it asks for as"),
        help_text=gettext_lazy(
            "For a scanner that sends a wrong value which nobody can switch off: it gets the exams "
            "whatever they hold there"
        ),
        widget=forms.CheckboxSelectMultiple,
    )
    list_labels = {
        "shown_statuses": gettext_lazy("Exams that are"),
        "modality_aliases": gettext_lazy("Modalities that count as another"),
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        station = self.instance
        stored = [shown.status for shown in station.shown_statuses.all()]
        self.initial["shown_statuses"] = stored or list(OPEN_STATUSES)
        self.initial["modality_aliases"] = "\n".join(map(str, station.modality_aliases.all()))
        stored_keys = station.ignored_keys.split()
        self.initial["ignored_keys"] = stored_keys
        self.fields["ignored_keys"].choices = _ignorable(station, stored_keys)  # type: ignore[attr-defined]
        self.further = [title.ae_title for title in station.titles.all()]

    def clean_shown_statuses(self) -> list[str]:
        chosen = list(self.cleaned_data["shown_statuses"])
        if not chosen:
            raise ValidationError(_("Without any status it would be shown nothing: tick one."))
        # The usual ones are no rule of its own: they are whatever is usual.
        return [] if set(chosen) == set(OPEN_STATUSES) else chosen

    def clean_ignored_keys(self) -> str:
        return " ".join(sorted(self.cleaned_data["ignored_keys"]))

    def clean_modality_aliases(self) -> list[tuple[str, str]]:
        pairs = []
        for line in filter(str.strip, self.cleaned_data["modality_aliases"].splitlines()):
            modalities = [part.strip().upper() for part in line.split("=")]
            if len(modalities) != 2 or not all(modalities):
                raise ValidationError(
                    _("“%(line)s” is no pair of modalities: write CR=DX."), params={"line": line}
                )
            pairs.append((modalities[0], modalities[1]))
        return pairs

    def rules(self) -> Rules:
        """The rules as they are filled in."""
        return stations.rules_of(
            self.instance,
            titles=self.further,
            aliases=self.cleaned_data["modality_aliases"],
            statuses=self.cleaned_data["shown_statuses"],
        )


# What consoles are known to send of themselves. Others are offered once they are asked for.
_USUALLY_WRONG = (
    "ScheduledStationAETitle",
    "Modality",
    "ScheduledProcedureStepStartDate",
    "ScheduledPerformingPhysicianName",
    "ReferringPhysicianName",
    "RequestingPhysician",
)


def _ignorable(station: Station, stored: Sequence[str]) -> list[tuple[str, str]]:
    """The keys to choose from: the usual ones, those that are set, those that it asked for last."""
    last = asked.last_of(station) if station.pk else None
    keys = asked.keys_of(last) if last else ()
    lately = [key.keyword for key in keys if key.words and key.keyword in IGNORABLE]
    offered = dict.fromkeys((*_USUALLY_WRONG, *lately, *stored))
    return [(each, _key_name(IGNORABLE[each])) for each in offered if each in IGNORABLE]


def _key_name(attribute: Attribute) -> str:
    if attribute is _DATE:
        return _("%(date)s, and time") % {"date": attribute.name}
    return attribute.name


@dataclass(frozen=True)
class Row:
    """An exam of the answer, as a line of the page."""

    step: int
    day: Any
    time: Any
    name: str
    description: str
    titles: str
    doubts: tuple[str, ...]


@needs(*PERMISSIONS)
def shown(request: HttpRequest, pk: int) -> HttpResponse:
    """Set what a scanner sees, with what it sees now beside it."""
    station = get_object_or_404(Station, pk=pk)
    form = ShownForm(request.POST or None, instance=station)
    title = _("What %(scanner)s sees") % {"scanner": station.friendly_name}
    return edit(
        request,
        form,
        lambda seen: catalogue.save_station(
            form.instance,
            modality_aliases=form.cleaned_data["modality_aliases"],
            shown_statuses=form.cleaned_data["shown_statuses"],
            seen=seen,
            by=actor(request),
        ),
        Page("setup/shown.html", "setup-scanners", title),
        station=station,
        **_seen(request, station, stations.of(station).rules),
    )


@require_POST
@needs(*PERMISSIONS)
def shown_now(request: HttpRequest, pk: int) -> HttpResponse:
    """What the scanner would get with the choices as they are filled in: part of the page."""
    station = get_object_or_404(Station, pk=pk)
    form = ShownForm(request.POST, instance=station)
    context: dict[str, Any] = {"station": station}
    if form.is_valid():
        context |= _seen(request, station, form.rules())
    return render(request, "setup/_shown.html", context)


def _seen(request: HttpRequest, station: Station, rules: Rules) -> dict[str, Any]:
    """What the page shows of an answer, for the query that was chosen. Signed as a look."""
    last = asked.last_of(station)
    is_last = last is not None and request.POST.get("of", request.GET.get("of")) == "last"
    query = asked.plan_of(last) if last and is_last else preview.today()
    found = preview.of(query, rules, now=clock.now())
    rows = [_row(found, item) for item in found.items[:_MOST_SHOWN]]
    details = {"scanner": station.pk, "exams": [row.step for row in rows]}
    trail.note("view", by=actor(request), label="what a scanner sees", details=details)
    return {
        "preview": found,
        "rows": rows,
        "count": len(found.items),
        "of_all": None if is_last else preview.without_rules(query),
        "most": _MOST_SHOWN if len(found.items) > _MOST_SHOWN else None,
        "with_doubts": sum(1 for row in rows if row.doubts),
        "is_last": is_last,
        "last": last,
        "last_time": _moment(last),
    }


def _moment(query: Query | None) -> str:
    return date_format(localtime(query.at), "DATETIME_FORMAT") if query else ""


def _row(found: Preview, item: Item) -> Row:
    (inner,) = item.items[_STEP]
    assert item.step is not None
    return Row(
        item.step,
        next(iter(inner.values[_DATE]), None),
        next(iter(inner.values[_TIME]), None),
        str(next(iter(item.values[_NAME]), "")),
        str(next(iter(inner.values[_DESCRIPTION]), "")),
        ", ".join(map(str, inner.values[_TITLE])),
        tuple(_told(doubt, found.rules) for doubt in found.doubts(item)),
    )


def _told(doubt: Doubt, rules: Rules) -> str:
    name = doubt.attribute.name
    if doubt.kind is Kind.LONG:
        return _("%(attribute)s is too long for it.") % {"attribute": name}
    if doubt.kind is Kind.EMPTY:
        return _("%(attribute)s must not be empty, and is.") % {"attribute": name}
    stored = "\\".join(rules.character_set or ())
    of_set = dict(character_sets()).get(stored) if stored else None
    told = _("%(attribute)s has letters that are not in %(set)s: sent in Unicode.")
    return told % {"attribute": name, "set": of_set or _("the set that it asks in")}
