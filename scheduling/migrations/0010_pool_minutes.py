import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect


class Migration(migrations.Migration):
    """What the devices of each pool did, by the minute: a tenant reads its own pools' only."""

    dependencies = [
        ("clients", "0006_network_rate"),
        ("scheduling", "0009_gateway_drains"),
        ("tenants", "0006_webhooks"),
    ]

    operations = [
        migrations.CreateModel(
            name="PoolMinute",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(db_index=True, help_text="The minute's begin")),
                ("devices", models.PositiveIntegerField()),
                ("online", models.PositiveIntegerField()),
                ("bound", models.PositiveIntegerField()),
                ("wanted", models.PositiveIntegerField()),
                ("by_tenant", models.JSONField(default=dict, help_text="Tenant to its parts of bound and of wanted")),
                ("tiers", models.JSONField(default=list, help_text="Of each speed tier: least CPU score, devices online and bound")),
                ("pool", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="minutes", to="clients.pool")),
                ("tenant", models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.tenant")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("pool", "at"), name="pool_minute_once")],
            },
        ),
        protect("scheduling_poolminute"),
    ]
