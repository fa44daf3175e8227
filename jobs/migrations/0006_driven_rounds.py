from django.db import migrations, models


class Migration(migrations.Migration):
    """Parameters may be uploaded for one round of a driven job, and go with it."""

    dependencies = [("jobs", "0005_rounds_by_close")]

    operations = [
        migrations.AlterField(
            model_name="artifact",
            name="kind",
            field=models.CharField(
                choices=[
                    ("program", "Program"),
                    ("parameters", "Parameters"),
                    ("round", "parameters of one round of a driven job"),
                ],
                max_length=12,
            ),
        ),
    ]
