from django.db import migrations, models


class Migration(migrations.Migration):
    """Rounds by when they closed: what they took is learnt once, soon after."""

    dependencies = [("jobs", "0004_buffers")]

    operations = [
        migrations.AddIndex(
            model_name="round",
            index=models.Index(fields=["closed_at"], name="round_by_close"),
        ),
    ]
