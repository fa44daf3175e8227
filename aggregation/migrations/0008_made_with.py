"""What each model version was made with, for whoever wants to make it again."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('aggregation', '0007_set_aside'),
    ]

    operations = [
        migrations.AddField(
            model_name='modelversion',
            name='made_with',
            field=models.JSONField(db_default={}, default=dict, help_text='Releases of the platform and of its libraries, by name'),
        ),
    ]
