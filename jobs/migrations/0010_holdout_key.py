from django.db import migrations, models


class Migration(migrations.Migration):
    """A job may hold out devices from training: its key says which."""

    dependencies = [("jobs", "0009_quarantine")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="holdout_key",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Says which devices are held out from training",
                max_length=32,
            ),
            preserve_default=False,
        ),
    ]
