from django.db import migrations, models

# The triggers that write it come once all migrations are done (worklist/copies.py).
FILL = """
UPDATE worklist_scheduledprocedurestep AS step SET patient_name_folded = (
    SELECT patient.name_folded FROM worklist_requestedprocedure AS procedure
    JOIN worklist_imagingservicerequest AS request ON request.id = procedure.request_id
    JOIN worklist_patient AS patient ON patient.id = request.patient_id
    WHERE procedure.id = step.requested_procedure_id
)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("worklist", "0026_ignored_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="scheduledprocedurestep",
            name="patient_name_folded",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=4096
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
