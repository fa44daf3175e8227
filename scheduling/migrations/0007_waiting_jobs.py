from django.db import migrations


class Migration(migrations.Migration):
    """Jobs as the console explains them; no table."""

    dependencies = [("jobs", "0003_granted_demand"), ("scheduling", "0006_records")]

    operations = [
        migrations.CreateModel(
            name="WaitingJob",
            fields=[],
            options={"proxy": True, "indexes": [], "constraints": []},
            bases=("jobs.job",),
        ),
    ]
