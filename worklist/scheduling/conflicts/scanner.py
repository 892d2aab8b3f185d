"""What speaks against a booking on this scanner: it does something else, or is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from django.utils.translation import gettext as _

from worklist import names
from worklist.modalities import modality_name
from worklist.models import Station
from worklist.scheduling.conflicts.findings import Conflict, Proposal
from worklist.scheduling.slots import Booked


def fits(proposal: Proposal, in_use: Callable[[], list[Station]]) -> Iterator[Conflict]:
    """Whether the scanner does it; `in_use` are the scanners of which others are proposed."""
    station, modality, kind = proposal.station, proposal.modality, proposal.procedure_type
    if not station.is_active:
        yield Conflict(
            "inactive",
            "error",
            _("%(scanner)s is not in use. %(choose)s")
            % {"scanner": station.friendly_name, "choose": _choose(proposal, in_use)},
        )
    if station.modality and station.modality != modality:
        yield Conflict(
            "modality",
            "error",
            _("%(scanner)s does %(modality)s only. %(choose)s")
            % {
                "scanner": station.friendly_name,
                "modality": modality_name(station.modality),
                "choose": _choose(proposal, in_use),
            },
        )
    elif kind is not None:
        allowed = {each.pk for each in kind.allowed_stations.all()}
        if allowed and station.pk not in allowed:
            yield Conflict(
                "modality",
                "error",
                _("%(exam)s is not done on %(scanner)s. %(choose)s")
                % {
                    "exam": kind.description,
                    "scanner": station.friendly_name,
                    "choose": _choose(proposal, in_use),
                },
            )


def _choose(proposal: Proposal, in_use: Callable[[], list[Station]]) -> str:
    fitting = [each.friendly_name for each in _stations_for(proposal, in_use)]
    if not fitting:
        return _("No scanner for it is set up: ask your administrator.")
    *others, last = fitting
    if not others:
        return _("Choose %(scanner)s.") % {"scanner": last}
    return _("Choose %(scanners)s or %(last)s.") % {"scanners": ", ".join(others), "last": last}


def _stations_for(proposal: Proposal, in_use: Callable[[], list[Station]]) -> list[Station]:
    """The stations in use on which this could be done."""
    allowed = (
        list(proposal.procedure_type.allowed_stations.all()) if proposal.procedure_type else []
    )
    if allowed:
        return [station for station in allowed if station.is_active]
    return [station for station in in_use() if station.modality == proposal.modality]


def overlaps(
    proposal: Proposal, booked: Mapping[int, Booked], before: Sequence[Proposal]
) -> Iterator[Conflict]:
    said = _("%(time)s overlaps %(patient)s %(their_time)s on %(scanner)s.")
    scanner = proposal.station.friendly_name
    for other in booked.values():
        if other.span.overlaps(proposal.span):
            yield Conflict(
                "overlap",
                "warning",
                said
                % {
                    "time": proposal.span,
                    "patient": names.text(other.patient_name),
                    "their_time": other.span,
                    "scanner": scanner,
                },
                step_id=other.step_id,
                needs_reason=True,
            )
    for earlier in before:
        if earlier.station.pk == proposal.station.pk and earlier.span.overlaps(proposal.span):
            who = names.text(earlier.patient.name) if earlier.patient else ""
            yield Conflict(
                "overlap",
                "warning",
                said
                % {
                    "time": proposal.span,
                    "patient": who,
                    "their_time": earlier.span,
                    "scanner": scanner,
                },
                needs_reason=True,
            )
