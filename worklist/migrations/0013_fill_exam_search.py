"""The words by which orders, procedures and steps from before are searched."""

from collections import defaultdict
from typing import Any

from django.db import migrations

from worklist import values

_BATCH = 5000
_SOURCES = {
    "ImagingServiceRequest": "accession_number",
    "RequestedProcedure": "description",
    "ScheduledProcedureStep": "description",
}


def fill(apps: Any, schema_editor: Any) -> None:
    """Write the words wherever they are not there yet."""
    for name, source in _SOURCES.items():
        model = apps.get_model("worklist", name)
        rows = model._base_manager.using(schema_editor.connection.alias)
        length = model._meta.get_field("search").max_length
        last = 0
        while batch := list(
            rows.filter(pk__gt=last).order_by("pk").values_list("pk", source, "search")[:_BATCH]
        ):
            last = batch[-1][0]
            # Texts repeat: a statement for each, not for each row.
            of_words = defaultdict(list)
            for pk, text, stored in batch:
                if (words := values.search_words(text)[:length]) != stored:
                    of_words[words].append(pk)
            if len(of_words) > _BATCH // 10:
                changed = [
                    model(pk=pk, search=words) for words, pks in of_words.items() for pk in pks
                ]
                rows.bulk_update(changed, ["search"], batch_size=500)
            else:
                for words, pks in of_words.items():
                    rows.filter(pk__in=pks).update(search=words)


class Migration(migrations.Migration):
    dependencies = [("worklist", "0012_exam_search")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
