"""The site's set-up: what happens to scanners, opening hours, closed days, procedures, order sets.

Each verb validates, writes and signs in one transaction, and refuses to save over what somebody
else has saved. What a door shows or parses is not here.
"""

from __future__ import annotations

from worklist.catalogue.seen import add_ae_title, take_address, take_ae_title
from worklist.catalogue.verbs import (
    CodedText,
    StaleError,
    delete_closed_day,
    distrust_certificate,
    save_closed_day,
    save_opening_hours,
    save_order_set,
    save_procedure_type,
    save_station,
    set_procedure_type_active,
    trust_certificate,
)

__all__ = [
    "CodedText",
    "StaleError",
    "add_ae_title",
    "delete_closed_day",
    "distrust_certificate",
    "save_closed_day",
    "save_opening_hours",
    "save_order_set",
    "save_procedure_type",
    "save_station",
    "set_procedure_type_active",
    "take_address",
    "take_ae_title",
    "trust_certificate",
]
