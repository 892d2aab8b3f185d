import sys

from django.db import DatabaseError, migrations, transaction

# Serve C-FIND (dicomscp/narrowing.py) at a million steps: what is open, in the order of the answer,
# of an old worklist the least part; a status, of all days; IDs that begin with what is asked for,
# whatever the database's collation; names in which it stands at the start of a group or anywhere.
# SQLite, which knows nothing of how often a status is held, would take the first two for the best
# of all.
ORDERED = """
CREATE INDEX IF NOT EXISTS worklist_step_open
ON worklist_scheduledprocedurestep (start_date, start_time, id)
WHERE status::text = ANY ('{SCHEDULED,ARRIVED,READY,STARTED}'::text[]);
CREATE INDEX IF NOT EXISTS worklist_step_status
ON worklist_scheduledprocedurestep (status, start_date, start_time, id);
CREATE INDEX IF NOT EXISTS worklist_patient_id_like
ON worklist_patient (patient_id varchar_pattern_ops);
CREATE INDEX IF NOT EXISTS worklist_request_accession_like
ON worklist_imagingservicerequest (accession_number varchar_pattern_ops);
CREATE INDEX IF NOT EXISTS worklist_patient_name_like
ON worklist_patient (name_folded varchar_pattern_ops)
"""
TRIGRAMS = """
CREATE INDEX IF NOT EXISTS worklist_patient_name_trigrams
ON worklist_patient USING gin (name_folded gin_trgm_ops);
CREATE INDEX IF NOT EXISTS worklist_patient_name_groups
ON worklist_patient USING gin (name_folded gin_trgm_ops) WHERE name_folded LIKE '%=%'
"""
WITHOUT = """
  The extension pg_trgm cannot be had here (%s).
  Scanners find patients by name all the same, slowly among many. To speed it up, as the database's
  owner:
    CREATE EXTENSION pg_trgm;%s;
"""


def create(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(ORDERED)
    try:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            cursor.execute(TRIGRAMS)
    except DatabaseError as error:
        sys.stderr.write(WITHOUT % (str(error).splitlines()[0], TRIGRAMS.rstrip()))


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "DROP INDEX IF EXISTS worklist_step_open, worklist_step_status, "
            "worklist_patient_id_like, worklist_request_accession_like, "
            "worklist_patient_name_like, worklist_patient_name_groups, "
            "worklist_patient_name_trigrams"
        )


class Migration(migrations.Migration):
    dependencies = [
        ("worklist", "0023_step_revision"),
    ]

    operations = [
        migrations.RunPython(create, drop),
    ]
