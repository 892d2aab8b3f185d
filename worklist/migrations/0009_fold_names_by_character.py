"""Person names are folded character by character now: make the folded columns anew."""

from typing import Any

from django.db import migrations

from worklist import values
from worklist.models.fields import FoldedName

_BATCH = 1000
_MODELS = ("Patient", "ImagingServiceRequest", "RequestedProcedure", "ScheduledProcedureStep")


def fold(apps: Any, schema_editor: Any) -> None:
    """Write the folded columns that are no longer those of the names beside them."""
    for name in _MODELS:
        rows = apps.get_model("worklist", name)._base_manager.using(schema_editor.connection.alias)
        columns = [field for field in rows.model._meta.fields if isinstance(field, FoldedName)]
        # By keys, a batch at a time: what is written must not move under an open cursor.
        last = 0
        needed = [name for column in columns for name in (column.of, column.name)]
        while batch := list(rows.only(*needed).filter(pk__gt=last).order_by("pk")[:_BATCH]):
            last = batch[-1].pk
            changed = [row for row in batch if _refold(row, columns)]
            rows.bulk_update(changed, [column.name for column in columns])


def _refold(row: Any, columns: list[FoldedName]) -> bool:
    """Give the row its folded names; whether that changed it."""
    before = [getattr(row, column.name) for column in columns]
    for column in columns:
        names = values.split(getattr(row, column.of))
        setattr(row, column.name, values.join([values.fold_name(one) for one in names]))
    return before != [getattr(row, column.name) for column in columns]


class Migration(migrations.Migration):
    dependencies = [("worklist", "0008_permissions")]

    # The names themselves are untouched: there is nothing to take back.
    operations = [migrations.RunPython(fold, migrations.RunPython.noop)]
