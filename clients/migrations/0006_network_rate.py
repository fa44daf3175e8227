from django.db import migrations


def fill(apps, schema_editor):
    apps.get_model("clients", "AttributeDefinition").objects.get_or_create(
        name="network_mbps",
        defaults={
            "type": "number",
            "unit": "Mbit/s",
            "description": "Rate of past downloads; told after the first larger one",
        },
    )


class Migration(migrations.Migration):
    """The rate of its link, which our own agent measures as it downloads."""

    dependencies = [("clients", "0005_census")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
