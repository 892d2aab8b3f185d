"""The modalities that a site may have (PS3.3 C.7.3.1.1.1), as people call them."""

from __future__ import annotations

from django.utils.translation import gettext, pgettext

# What works with ionising radiation: an unborn child must be thought of.
IONISING = frozenset({"CT", "CR", "DX", "MG", "XA", "RF", "NM", "PT"})


def _names() -> list[tuple[str, str]]:
    return [
        ("CT", gettext("Computed tomography")),
        ("MR", gettext("Magnetic resonance")),
        ("US", gettext("Ultrasound")),
        ("CR", gettext("Computed radiography")),
        ("DX", gettext("Digital radiography")),
        ("RF", gettext("Fluoroscopy")),
        ("XA", gettext("Angiography")),
        ("MG", gettext("Mammography")),
        ("NM", gettext("Nuclear medicine")),
        ("PT", gettext("Positron emission tomography")),
        ("BMD", gettext("Bone densitometry")),
        ("PX", gettext("Panoramic X-ray")),
        ("IO", gettext("Intra-oral radiography")),
        ("ECG", gettext("Electrocardiography")),
        ("ES", gettext("Endoscopy")),
        ("GM", gettext("General microscopy")),
        ("SM", gettext("Slide microscopy")),
        ("OP", gettext("Ophthalmic photography")),
        ("OPT", gettext("Ophthalmic tomography")),
        ("RTIMAGE", gettext("Radiotherapy image")),
        ("XC", gettext("Photography")),
        ("OT", pgettext("modality", "Other")),
    ]


def modalities(*others: str) -> list[tuple[str, str]]:
    """Code and name of each modality that takes images; others that are in use stand behind."""
    known = _names()
    codes = {code for code, _ in known}
    return [
        *((code, f"{code} · {name}") for code, name in known),
        *((code, code) for code in others if code and code not in codes),
    ]


def modality_name(modality: str) -> str:
    """What people call it; the code itself when it is none of ours."""
    return dict(_names()).get(modality, modality)
