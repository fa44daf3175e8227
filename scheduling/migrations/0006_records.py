from django.db import migrations, models

from tenants.walls import protect


class Migration(migrations.Migration):
    """Sampled plans, and demand and supply by the minute: the operator's, so behind a wall."""

    dependencies = [("scheduling", "0005_share_history")]

    operations = [
        migrations.CreateModel(
            name="PlanRecord",
            fields=[
                ("version", models.BigIntegerField(primary_key=True, serialize=False)),
                ("policy", models.CharField(max_length=40)),
                ("parameters", models.JSONField(default=dict)),
                ("at", models.DateTimeField(db_index=True)),
                ("summary", models.JSONField(default=dict, help_text="Counts, and of the first rounds their place and open slots")),
            ],
        ),
        migrations.CreateModel(
            name="FleetMinute",
            fields=[
                ("at", models.DateTimeField(help_text="The minute's begin", primary_key=True, serialize=False)),
                ("supply", models.JSONField(default=dict, help_text="Profile key to check-ins")),
                ("demand", models.JSONField(default=dict, help_text="Rounds that opened within it, and their groups' constraints")),
            ],
        ),
        migrations.CreateModel(
            name="ProfileRecord",
            fields=[
                ("key", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("profile", models.JSONField()),
                ("seen_at", models.DateTimeField()),
            ],
        ),
        protect("scheduling_planrecord", condition="false"),
        protect("scheduling_fleetminute", condition="false"),
        protect("scheduling_profilerecord", condition="false"),
    ]
