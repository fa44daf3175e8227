from django.db import migrations
from django.utils import timezone


def fill(apps, schema_editor):
    policy = apps.get_model("scheduling", "SharingPolicy")
    policy.objects.create(
        name="fair",
        parameters={"within": "propius"},
        reason="Default: equal shares between tenants, propius inside each",
        author="platform",
        created_at=timezone.now(),
    )


class Migration(migrations.Migration):
    """There is always an active policy."""

    dependencies = [("scheduling", "0002_walls")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
