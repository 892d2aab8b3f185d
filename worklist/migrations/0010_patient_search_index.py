import sys

from django.db import DatabaseError, migrations, transaction

# Serves lookup.with_words: words that begin with what a person types. Written in SQL, since the
# other databases have nothing like it: they read the rows one by one.
CREATE = """
CREATE INDEX IF NOT EXISTS worklist_patient_words
ON worklist_patient USING gin ((' ' || search) gin_trgm_ops)
"""
WITHOUT = """
  The extension pg_trgm cannot be had here (%s).
  Patients are found all the same, slowly among many. To speed it up, as the database's owner:
    CREATE EXTENSION pg_trgm;%s;
"""


def create(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    try:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            cursor.execute(CREATE)
    except DatabaseError as error:
        sys.stderr.write(WITHOUT % (str(error).splitlines()[0], CREATE.rstrip()))


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX IF EXISTS worklist_patient_words")


class Migration(migrations.Migration):
    dependencies = [
        ("worklist", "0009_fold_names_by_character"),
    ]

    operations = [migrations.RunPython(create, drop)]
