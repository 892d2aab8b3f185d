from django.db import migrations, models

# The triggers that write them come once all migrations are done (worklist/copies.py).
CREATE = """
UPDATE worklist_stepstation SET start_date = step.start_date, status = step.status
FROM worklist_scheduledprocedurestep AS step WHERE step.id = worklist_stepstation.step_id;
SET CONSTRAINTS ALL IMMEDIATE;
CREATE INDEX IF NOT EXISTS worklist_stepstation_day
ON worklist_stepstation (station_id, start_date, status, step_id)
"""


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CREATE)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX IF EXISTS worklist_stepstation_day")


class Migration(migrations.Migration):
    dependencies = [
        ("worklist", "0028_step_patient_name_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="stepstation",
            name="start_date",
            field=models.DateField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="stepstation",
            name="status",
            field=models.CharField(blank=True, default="", editable=False, max_length=16),
        ),
        migrations.RunPython(create, drop),
    ]
