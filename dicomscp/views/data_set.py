"""What scanners receive of one exam: the very data set that a C-FIND returns, shown and saved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe
from pydicom.datadict import dictionary_description, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomscp import asked, find, plan, response, scope, stations, wl_files
from dicomscp.matching import AnyItem, Condition, Item, OneOf
from dicomscp.plan import QueryPlan
from dicomscp.scope import NO_RULES, Rules
from worklist import attributes, character_set, clock
from worklist.actor import actor
from worklist.attributes import Attribute
from worklist.audit import trail
from worklist.character_set import CharacterSet
from worklist.models import Patient, ScheduledProcedureStep, Station
from worklist.roles import needs

SEE = ("worklist.view_scheduledprocedurestep", "worklist.view_patient")
EXPORT = "worklist.export_exams"
_STEP = wl_files.STEPS
_STEP_ID = attributes.find(_STEP.keyword, "ScheduledProcedureStepID")
_STATUS = attributes.find(_STEP.keyword, "ScheduledProcedureStepStatus")
_STUDY = attributes.find("StudyInstanceUID")


@dataclass(frozen=True)
class Line:
    """One element as it is read: how deep it stands, and what the standard calls it."""

    depth: int
    tag: str
    keyword: str
    name: str
    vr: str
    value: str
    returned: str


@dataclass(frozen=True)
class Seen:
    """An exam as a scanner receives it, and what of the scanner's rules leaves it out now."""

    step: ScheduledProcedureStep
    item: Item
    station: Station | None
    rules: Rules
    hidden_by: tuple[Condition, ...]

    @property
    def is_over(self) -> bool:
        """Whether it is its status that leaves it out."""
        return any(_STATUS in _attributes(condition) for condition in self.hidden_by)

    def data_set(self, query: QueryPlan) -> Dataset:
        """What the scanner is sent of it."""
        return response.identifier(
            query,
            self.item,
            character_set=self.rules.character_set,
            alphabetic_only=self.rules.alphabetic_only,
        )

    @property
    def patient(self) -> Patient:
        return self.step.requested_procedure.request.patient


@require_safe
@needs(*SEE)
def data_set(request: HttpRequest, pk: int) -> HttpResponse:
    """The data set, an element a line: part of the exam's page, or a page of its own.

    `station` is the number of a scanner, if it is another than the exam's first; with `as` "last",
    it is sent no more than it asked for the last time.
    """
    station = _station(request.GET.get("station", ""))
    query = plan.everything()
    last = asked.last_of(station) if station and request.GET.get("as") == "last" else None
    if last:
        query = asked.plan_of(last)
    seen = _seen(pk, query, station)
    trail.note("view", seen.patient, by=actor(request), details={"exam": pk, "as": "DICOM"})
    dataset = seen.data_set(query)
    data = {"seen": seen, "lines": list(lines(dataset)), "patient": seen.patient}
    is_part = request.headers.get("HX-Request") == "true"
    template = "dicom/_data_set.html" if is_part else "dicom/data_set.html"
    answer = render(request, template, data)
    patch_vary_headers(answer, ("HX-Request",))
    return answer


@require_safe
@needs(*SEE, EXPORT)
def worklist_file(request: HttpRequest, pk: int) -> HttpResponse:
    """The data set as a worklist file, as export_wl writes it."""
    known = plan.everything_known()
    seen = _seen(pk, known)
    dataset = seen.data_set(known)
    return _download(request, seen, wl_files.part10(dataset), "application/dicom", "wl")


@require_safe
@needs(*SEE, EXPORT)
def json_file(request: HttpRequest, pk: int) -> HttpResponse:
    """The data set as DICOM JSON (PS3.18 F.2), whose text is Unicode."""
    known = plan.everything_known()
    seen = _seen(pk, known)
    dataset = response.identifier(known, seen.item, character_set=character_set.UNICODE)
    written = json.dumps(dataset.to_json_dict(), ensure_ascii=False, indent=1)
    return _download(request, seen, written.encode(), "application/dicom+json", "json")


def _download(
    request: HttpRequest, seen: Seen, content: bytes, content_type: str, suffix: str
) -> HttpResponse:
    trail.note("export", seen.patient, by=actor(request), details={"exam": seen.step.pk})
    answer = HttpResponse(content, content_type=content_type)
    # Our own number: a name or a patient's ID has no place among people's downloads.
    answer["Content-Disposition"] = f'attachment; filename="exam-{seen.step.pk}.{suffix}"'
    return answer


def _station(number: str) -> Station | None:
    if not number:
        return None
    if not (number.isascii() and number.isdigit()):
        raise Http404
    return get_object_or_404(Station, pk=int(number))


def _seen(pk: int, query: QueryPlan, station: Station | None = None) -> Seen:
    """The exam by the ways of a C-FIND: the same plan, rows and rules.

    It is seen as that scanner sees it, else as the first of its own.
    """
    step = get_object_or_404(
        ScheduledProcedureStep.objects.select_related("requested_procedure__request__patient"),
        pk=pk,
    )
    this: tuple[Condition, ...] = (
        OneOf(_STUDY, (step.requested_procedure.study_instance_uid,)),
        AnyItem(_STEP, (OneOf(_STEP_ID, (step.step_id,)),)),
    )
    # Rules look at more than what is returned, and the exam is shown though a key leaves it out.
    items = find.rows(plan.everything(), scope=this)
    if len(items) != 1:
        raise Http404
    if station is None:
        first = trail.ordered(step, "stations")[:1]
        station = first[0] if first and isinstance(first[0], Station) else None
    rules = stations.of(station).rules if station else NO_RULES
    scoped = scope.under(query, rules, now=clock.now())
    conditions = (*scoped.plan.conditions, *scoped.conditions)
    hidden_by = tuple(condition for condition in conditions if not condition.matches(items[0]))
    return Seen(step, items[0], station, rules, hidden_by)


def _attributes(condition: Condition) -> list[Attribute]:
    """The attributes of the step that a rule is about."""
    inner = condition.conditions if isinstance(condition, AnyItem) else ()
    return [each.attribute for each in inner if hasattr(each, "attribute")]


# --- an element a line ----------------------------------------------------------------------------


def lines(
    dataset: Dataset,
    table: Mapping[int, Attribute] = attributes.BY_TAG,
    *,
    terms: CharacterSet = character_set.DEFAULT,
    depth: int = 0,
) -> Iterator[Line]:
    """The elements in the order of the wire, text read from the bytes that are sent."""
    if "SpecificCharacterSet" in dataset:
        said = dataset.SpecificCharacterSet
        terms = (said,) if isinstance(said, str) else tuple(said)
        terms = character_set.read("\\".join(terms).encode("ascii"))
    for tag in sorted(dataset.keys()):
        element = dataset.get_item(tag)
        attribute = table.get(int(tag))
        items = element.value if element.VR == "SQ" else ()
        yield Line(
            depth,
            f"({tag.group:04X},{tag.element:04X})",
            keyword_for_tag(tag),
            dictionary_description(tag),
            str(element.VR),
            "" if element.VR == "SQ" else _text(element, terms),
            attribute.returned if attribute else "1C",
        )
        for item in items:
            inner = attribute.item_by_tag if attribute else {}
            yield from lines(item, inner, terms=terms, depth=depth + 1)


def _text(element: object, terms: CharacterSet) -> str:
    if isinstance(element, DataElement):  # Specific Character Set, which is not text of its own set
        return "\\".join([element.value] if isinstance(element.value, str) else element.value)
    value: bytes = getattr(element, "value", b"") or b""
    vr = str(getattr(element, "VR", ""))
    if vr == "US":
        return str(int.from_bytes(value, "little")) if value else ""
    governed = vr in character_set.GOVERNED_VRS
    return character_set.decode(value, terms if governed else (), vr).rstrip(" \0")
