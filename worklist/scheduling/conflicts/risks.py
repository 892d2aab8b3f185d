"""What may harm the patient: radiation and a pregnancy, a contrast agent and an allergy.

The site may say it in words of its own (PREGNANCY_WARNING, ALLERGY_WARNING).
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.utils.translation import gettext as _

from worklist import names, values
from worklist.modalities import IONISING, modality_name
from worklist.scheduling.conflicts.findings import Conflict, Proposal

# PS3.3 C.2.4: possibly and definitely pregnant.
_PREGNANT = (2, 3)


def risks(proposal: Proposal) -> Iterator[Conflict]:
    """The risks of this exam for this patient, those that were accepted before, too.

    What a person accepts is the risk, in whichever language it was told: another patient, exam,
    status or list of allergies asks again, and another time or scanner does not.
    """
    patient, kind = proposal.patient, proposal.procedure_type
    if patient is None:
        return
    exam = kind.description if kind else modality_name(proposal.modality)
    told = {
        "patient": names.text(patient.name),
        "exam": exam,
        "allergies": ", ".join(values.split(patient.allergies)),
    }
    about = f"{patient.pk or patient.name} {kind.description if kind else proposal.modality}"
    if patient.pregnancy_status in _PREGNANT and proposal.modality in IONISING:
        yield Conflict(
            "pregnancy",
            "warning",
            _in_words(
                settings.PREGNANCY_WARNING,
                _("%(patient)s may be pregnant, and %(exam)s uses radiation. Ask the radiologist."),
                told,
            ),
            about=f"{about} {patient.pregnancy_status}",
        )
    gives_contrast = proposal.gives_contrast or (kind is not None and kind.uses_contrast)
    if gives_contrast and patient.allergies:
        yield Conflict(
            "allergy",
            "warning",
            _in_words(
                settings.ALLERGY_WARNING,
                _(
                    "%(exam)s uses a contrast agent, and %(patient)s has an allergy noted: "
                    "%(allergies)s. Ask the radiologist."
                ),
                told,
            ),
            about=f"{about} {patient.allergies}",
        )


def _in_words(own: str, usual: str, told: dict[str, str]) -> str:
    """The site's own sentence, its {patient}, {exam} and {allergies} filled in; else ours."""
    if not own:
        return usual % told
    for name, word in told.items():
        own = own.replace(f"{{{name}}}", word)
    return own
