from django.db import migrations, models


class Migration(migrations.Migration):
    """Updates that have rotted are set aside, and their rounds go on without them."""

    dependencies = [("aggregation", "0006_usage"), ("jobs", "0008_set_aside")]

    operations = [
        migrations.AddField(
            model_name="update",
            name="set_aside_at",
            field=models.DateTimeField(
                help_text="When its bytes were found to have changed on the disk", null=True
            ),
        ),
    ]
