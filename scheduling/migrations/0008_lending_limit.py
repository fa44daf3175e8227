from django.db import migrations, models


class Migration(migrations.Migration):
    """How much of a guarantee may be lent to others."""

    dependencies = [("scheduling", "0007_waiting_jobs")]

    operations = [
        migrations.AddField(
            model_name="sharechange",
            name="lending_limit",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="tenantshare",
            name="lending_limit",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="How much of the guarantee others may have meanwhile; empty is all of it",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="tenantshare",
            constraint=models.CheckConstraint(
                condition=models.Q(("lending_limit", None), ("lending_limit__lte", models.F("guarantee")), _connector="OR"),
                name="share_lends_of_its_guarantee",
            ),
        ),
    ]
