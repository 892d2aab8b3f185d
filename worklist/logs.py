"""Lines of the log say nothing of patients."""

from __future__ import annotations

import logging
import re

# What a database tells of a row that it refuses: the very values, "Key (patient_id)=(P1) ...".
_DETAIL = re.compile(
    r"\n?DETAIL:.*?"
    r"(?=\n(?:CONTEXT|HINT|QUERY|LOCATION|STATEMENT):|\n\n(?:The above|During handling)|\Z)",
    re.DOTALL,
)


class DiscreetFormatter(logging.Formatter):
    """A line without the values in the errors of the database; in tracebacks, too."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return _DETAIL.sub("", line) if "DETAIL:" in line else line
