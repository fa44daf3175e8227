"""How far each update moved the model, and whether it stood out in its round."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('aggregation', '0008_made_with'),
    ]

    operations = [
        migrations.AddField(
            model_name='update',
            name='norm',
            field=models.FloatField(help_text="L2 norm of its change by the heads of the tensors; none if not measured", null=True),
        ),
        migrations.AddField(
            model_name='update',
            name='is_outlier',
            field=models.BooleanField(db_default=False, default=False, help_text="Whether its norm stood out among those of its round"),
        ),
        migrations.AddIndex(
            model_name='update',
            index=models.Index(condition=models.Q(('is_outlier', True)), fields=['accepted_at'], name='update_outliers'),
        ),
    ]
