import sys

from django.db import DatabaseError, migrations, models, transaction

# In the place of trigrams of 0024 on patients: C-FIND by name (dicomscp/narrowing.py) finds the steps
# themselves. A part of a name is mostly asked for of what is open; a name of several groups, of all.
BEFORE = "DROP INDEX IF EXISTS worklist_patient_name_groups, worklist_patient_name_trigrams"
TRIGRAMS = """
CREATE INDEX IF NOT EXISTS worklist_step_name_trigrams
ON worklist_scheduledprocedurestep USING gin (patient_name_folded gin_trgm_ops)
WHERE status::text = ANY ('{SCHEDULED,ARRIVED,READY,STARTED}'::text[]);
CREATE INDEX IF NOT EXISTS worklist_step_name_groups
ON worklist_scheduledprocedurestep USING gin ((patient_name_folded || '') gin_trgm_ops)
WHERE strpos(patient_name_folded, '=') > 0
"""
WITHOUT = """
  The extension pg_trgm cannot be had here (%s).
  Scanners find exams by a part of the patient's name all the same, slowly among many. To speed it
  up, as the database's owner:
    CREATE EXTENSION pg_trgm;%s;
"""
AFTER = "DROP INDEX IF EXISTS worklist_step_name_trigrams, worklist_step_name_groups"
TRIGRAMS_BACK = """
CREATE INDEX IF NOT EXISTS worklist_patient_name_trigrams
ON worklist_patient USING gin (name_folded gin_trgm_ops);
CREATE INDEX IF NOT EXISTS worklist_patient_name_groups
ON worklist_patient USING gin (name_folded gin_trgm_ops) WHERE name_folded LIKE '%=%'
"""


def create(apps, schema_editor):
    _instead(schema_editor.connection, BEFORE, TRIGRAMS)


def drop(apps, schema_editor):
    _instead(schema_editor.connection, AFTER, TRIGRAMS_BACK)


def _instead(connection, first, trigrams):
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(first)
    try:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            cursor.execute(trigrams)
    except DatabaseError as error:
        sys.stderr.write(WITHOUT % (str(error).splitlines()[0], trigrams.rstrip()))


class Migration(migrations.Migration):
    dependencies = [
        ("worklist", "0027_step_patient_name"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="scheduledprocedurestep",
            index=models.Index(
                fields=["patient_name_folded", "status"],
                name="worklist_step_name",
                opclasses=["varchar_pattern_ops", "varchar_ops"],
            ),
        ),
        migrations.RunPython(create, drop),
    ]
