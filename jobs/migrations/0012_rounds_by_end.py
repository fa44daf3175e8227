from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0011_keys_with_answers'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='round',
            index=models.Index(fields=['finished_at'], name='round_by_end'),
        ),
    ]
