from django.db import migrations, models


class Migration(migrations.Migration):
    """Partial admission: fewer devices than the spec asks for."""

    dependencies = [("jobs", "0002_walls")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="granted_demand",
            field=models.PositiveIntegerField(help_text="Devices that a train round asks for, if fewer than its spec says", null=True),
        ),
    ]
