import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect, read_only

TABLE = "scheduling_sharechange"


class Migration(migrations.Migration):
    """Every share as it was set, with author and reason."""

    dependencies = [("scheduling", "0004_quotas")]

    operations = [
        migrations.CreateModel(
            name="ShareChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("weight", models.FloatField()),
                ("guarantee", models.PositiveIntegerField()),
                ("ceiling", models.PositiveIntegerField(null=True)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("author", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
                ("tenant", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="share_changes", to="tenants.tenant")),
            ],
        ),
        protect(TABLE),
        read_only(TABLE),
    ]
