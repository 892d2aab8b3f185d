"""The administration for staff, model by model; what all of them share is in `signed`."""

from __future__ import annotations

from worklist.admin import accounts, catalogue, orders, patients, trail

__all__ = ["accounts", "catalogue", "orders", "patients", "trail"]
