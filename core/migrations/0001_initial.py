from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('tenant_id', models.UUIDField(null=True)),
                ('kind', models.CharField(max_length=60)),
                ('job_id', models.UUIDField(null=True)),
                ('round_id', models.UUIDField(null=True)),
                ('assignment_id', models.UUIDField(null=True)),
                ('device_id', models.UUIDField(null=True)),
                ('data', models.JSONField(default=dict)),
                ('at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['tenant_id', 'id'], name='event_by_tenant'), models.Index(fields=['job_id', 'id'], name='event_by_job')],
            },
        ),
    ]
