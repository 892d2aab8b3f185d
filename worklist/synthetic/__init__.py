"""Made-up rows for measurements: a hospital's years of exams, each valid as DICOM.

The same plan makes the same rows. Nothing is written here.
"""

from __future__ import annotations

from worklist.synthetic.rows import ISSUER, MODELS, Plan, Table, tables

__all__ = ["ISSUER", "MODELS", "Plan", "Table", "tables"]
