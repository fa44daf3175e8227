import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0003_append_only'),
    ]

    operations = [
        migrations.CreateModel(
            name='StoredAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(help_text='Digest of the caller and the key', max_length=64)),
                ('request', models.CharField(help_text='Digest of what was asked', max_length=64)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('location', models.CharField(blank=True, max_length=200)),
                ('body', models.BinaryField(default=b'', help_text='Encrypted')),
                ('created_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
            options={
                'indexes': [models.Index(fields=['created_at'], name='answer_by_age')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'key'), name='answer_once', nulls_distinct=False)],
            },
        ),
        protect('tenants_storedanswer'),
    ]
