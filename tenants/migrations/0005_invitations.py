import core.ids
import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0004_stored_answers'),
    ]

    operations = [
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(help_text='Who it is for', max_length=150)),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('submitter', 'Submitter'), ('viewer', 'Viewer')], max_length=20)),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('created_by', models.CharField(max_length=150)),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('accepted_at', models.DateTimeField(blank=True, null=True)),
                ('accepted_by', models.CharField(blank=True, max_length=150)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='tenants.tenant')),
            ],
        ),
        protect('tenants_invitation'),
    ]
