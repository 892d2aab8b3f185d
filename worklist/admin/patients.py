"""Patients, to be looked at."""

from __future__ import annotations

from django.contrib import admin

from worklist.admin.support import WatchedAdmin
from worklist.models import Patient


@admin.register(Patient)
class PatientAdmin(WatchedAdmin):
    list_display = ("name", "patient_id", "issuer", "birth_date", "sex")
    list_filter = ("sex", "issuer")
    search_fields = ("search",)
    search_help_text = "Name or patient ID; accents and case do not count."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    ("patient_id", "issuer"),
                    ("birth_date", "sex"),
                    ("is_unknown", "merged_into"),
                )
            },
        ),
        (
            "Safety",
            {
                "fields": (
                    "allergies",
                    "medical_alerts",
                    ("pregnancy_status", "last_menstrual_date"),
                    "special_needs",
                    ("weight", "size"),
                    ("state", "smoking_status"),
                    "history",
                    "confidentiality",
                )
            },
        ),
        (
            "Other names and particulars",
            {
                "classes": ("collapse",),
                "fields": (
                    "other_ids",
                    "other_names",
                    "mother_birth_name",
                    ("responsible_person", "responsible_person_role"),
                    "birth_time",
                    ("ethnic_group", "occupation"),
                    "address",
                    "telephone_numbers",
                    "comments",
                ),
            },
        ),
    )

    def patient_of(self, row: Patient) -> Patient:
        return row
