from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("worklist", "0022_respell_search_words"),
    ]

    operations = [
        migrations.AddField(
            model_name="scheduledprocedurestep",
            name="revision",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
    ]
