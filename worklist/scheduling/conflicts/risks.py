"""What may harm the patient: radiation and a pregnancy, a contrast agent and an allergy."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from worklist import names, values
from worklist.modalities import IONISING, modality_name
from worklist.scheduling.conflicts.findings import Conflict, Proposal

# PS3.3 C.2.4: possibly and definitely pregnant.
_PREGNANT = (2, 3)


def risks(proposal: Proposal) -> Iterator[Conflict]:
    patient, kind = proposal.patient, proposal.procedure_type
    if patient is None:
        return
    exam = kind.description if kind else modality_name(proposal.modality)
    who = names.text(patient.name)
    if patient.pregnancy_status in _PREGNANT and proposal.modality in IONISING:
        yield Conflict(
            "pregnancy",
            "warning",
            _("%(patient)s may be pregnant, and %(exam)s uses radiation. Ask the radiologist.")
            % {"patient": who, "exam": exam},
        )
    if kind is not None and kind.uses_contrast and patient.allergies:
        yield Conflict(
            "allergy",
            "warning",
            _(
                "%(exam)s uses a contrast agent, and %(patient)s has an allergy noted: "
                "%(allergies)s. Ask the radiologist."
            )
            % {
                "exam": exam,
                "patient": who,
                "allergies": ", ".join(values.split(patient.allergies)),
            },
        )
