from django.db import migrations, models


class Migration(migrations.Migration):
    """A round goes on without reports whose updates have rotted; their numbers stay taken."""

    dependencies = [("jobs", "0007_maintenance")]

    operations = [
        migrations.AddField(
            model_name="round",
            name="set_aside",
            field=models.PositiveIntegerField(
                default=0, help_text="Reports that counted until their updates were found rotten"
            ),
        ),
    ]
