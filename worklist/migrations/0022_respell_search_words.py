"""Words with an umlaut are searched by both of their spellings now, muller and mueller."""

from typing import Any

from django.db import migrations

from worklist import values
from worklist.models.fields import SearchWords

_BATCH = 5000
_MODELS = ("Patient", "ImagingServiceRequest", "RequestedProcedure", "ScheduledProcedureStep")


def respell(apps: Any, schema_editor: Any) -> None:
    """Write the words anew wherever they are other ones now."""
    for name in _MODELS:
        model = apps.get_model("worklist", name)
        rows = model._base_manager.using(schema_editor.connection.alias)
        column = model._meta.get_field("search")
        assert isinstance(column, SearchWords)
        last = 0
        while batch := list(
            rows.filter(pk__gt=last).order_by("pk").values_list("pk", "search", *column.of)[:_BATCH]
        ):
            last = batch[-1][0]
            changed = []
            for pk, stored, *texts in batch:
                words = values.searched_by(" ".join(texts))[: column.max_length]
                if words != stored:
                    changed.append(model(pk=pk, search=words))
            rows.bulk_update(changed, ["search"], batch_size=500)


class Migration(migrations.Migration):
    dependencies = [("worklist", "0021_station_test_address")]

    # The texts themselves are untouched: there is nothing to take back.
    operations = [migrations.RunPython(respell, migrations.RunPython.noop)]
