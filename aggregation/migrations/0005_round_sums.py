import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect


class Migration(migrations.Migration):
    """What the rounds of driven jobs end with."""

    dependencies = [
        ("aggregation", "0004_leaves"),
        ("jobs", "0006_driven_rounds"),
    ]

    operations = [
        migrations.CreateModel(
            name="RoundSum",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64)),
                ("size_bytes", models.PositiveBigIntegerField()),
                ("count", models.PositiveIntegerField(help_text="Reports that are in it")),
                ("weight", models.FloatField(help_text="Sum of their weights")),
                ("metrics", models.JSONField(default=dict, help_text="Weighted means over the reports")),
                ("created_at", models.DateTimeField()),
                ("released_at", models.DateTimeField(help_text="When retention let its tensors go", null=True)),
                ("round", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name="sum", to="jobs.round")),
                ("tenant", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="tenants.tenant")),
            ],
            options={
                "indexes": [models.Index(condition=models.Q(("released_at", None)), fields=["digest"], name="sum_names_blob")],
            },
        ),
        protect("aggregation_roundsum"),
    ]
