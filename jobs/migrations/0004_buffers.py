from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Asynchronous jobs: a round is a buffer of updates, and overlaps with the next."""

    dependencies = [("jobs", "0003_granted_demand")]

    operations = [
        migrations.RemoveConstraint(model_name="round", name="round_one_train_open"),
        migrations.AddField(
            model_name="round",
            name="concurrency",
            field=models.PositiveIntegerField(
                help_text="Devices at work at once, of an asynchronous job", null=True
            ),
        ),
        migrations.AddField(
            model_name="assignment",
            name="base_version",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="assignment",
            name="base_digest",
            field=models.CharField(blank=True, default="", max_length=64),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="assignment",
            name="base_size",
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.AddConstraint(
            model_name="round",
            constraint=models.UniqueConstraint(
                condition=Q(kind="train", concurrency=None) & ~Q(status="finished"),
                fields=["job"],
                name="round_one_train_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="round",
            constraint=models.UniqueConstraint(
                condition=Q(kind="train", status__in=["selecting", "executing"]),
                fields=["job"],
                name="round_one_buffer_open",
            ),
        ),
    ]
