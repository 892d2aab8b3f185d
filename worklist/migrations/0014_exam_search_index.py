import sys

from django.db import DatabaseError, migrations, transaction

# Serve the board's search of all days (board/search.py), as 0010 does for patients: words of an exam
# that begin with what a person types.
CREATE = """
CREATE INDEX IF NOT EXISTS worklist_%(table)s_words
ON worklist_%(table)s USING gin ((' ' || search) gin_trgm_ops)
"""
TABLES = ("imagingservicerequest", "requestedprocedure", "scheduledprocedurestep")
WITHOUT = """
  The extension pg_trgm cannot be had here (%s).
  Exams of other days are found all the same, slowly among many. To speed it up, as the database's
  owner, after CREATE EXTENSION pg_trgm:%s;
"""


def create(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    statements = [CREATE % {"table": table} for table in TABLES]
    try:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            for statement in statements:
                cursor.execute(statement)
    except DatabaseError as error:
        told = ";".join(statements).rstrip()
        sys.stderr.write(WITHOUT % (str(error).splitlines()[0], told))


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"DROP INDEX IF EXISTS worklist_{table}_words")


class Migration(migrations.Migration):
    dependencies = [
        ("worklist", "0013_fill_exam_search"),
    ]

    operations = [migrations.RunPython(create, drop)]
