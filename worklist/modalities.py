"""The kinds of scanners that exams are booked on (PS3.3 C.7.3.1.1.1), in a clerk's words."""

from __future__ import annotations

from django.utils.translation import gettext as _

# What works with ionising radiation: an unborn child must be thought of.
IONISING = frozenset({"CT", "CR", "DX", "MG", "XA", "RF", "NM", "PT"})


def modalities() -> list[tuple[str, str]]:
    """The defined terms that a worklist is asked for, and what people call them."""
    return [
        ("CT", _("CT")),
        ("MR", _("MR")),
        ("CR", _("X-ray")),
        ("DX", _("digital X-ray")),
        ("US", _("ultrasound")),
        ("MG", _("mammography")),
        ("NM", _("nuclear medicine")),
        ("PT", _("PET")),
        ("XA", _("angiography")),
        ("RF", _("fluoroscopy")),
        ("BMD", _("bone density")),
        ("IO", _("dental X-ray")),
        ("PX", _("panoramic X-ray")),
        ("ES", _("endoscopy")),
        ("OP", _("eye photography")),
        ("OPT", _("eye tomography")),
        ("ECG", _("ECG")),
        ("OT", _("other")),
    ]


def modality_name(modality: str) -> str:
    """What people call it; the term itself when it is none of ours."""
    return dict(modalities()).get(modality, modality)
