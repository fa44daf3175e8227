from django.db import migrations

ATTRIBUTES = [
    ("cpu_score", "number", "", "Speed in a one-second benchmark; 1 is a slow phone"),
    ("memory_mb", "number", "MB", "Memory of the device"),
    ("disk_free_mb", "number", "MB", "Free disk that the agent may use"),
    ("cores", "number", "", "Processor cores"),
    ("os", "string", "", "Operating system: linux, android, windows, macos, ios, other"),
    ("os_version", "number", "", "Major version of the operating system"),
    ("architecture", "string", "", "Processor architecture, such as x86_64 or arm64"),
    ("accelerator", "string", "", "none, cuda, mps, npu"),
    ("python", "number", "", "Python version as a number, 3.11 is 311"),
    ("torch", "boolean", "", "Whether programs can run"),
    ("region", "string", "", "Label of the owner"),
]


def fill(apps, schema_editor):
    definition = apps.get_model("clients", "AttributeDefinition")
    for name, kind, unit, description in ATTRIBUTES:
        definition.objects.get_or_create(
            name=name, defaults={"type": kind, "unit": unit, "description": description}
        )


class Migration(migrations.Migration):
    """The attributes that our own agent measures; operators add more."""

    dependencies = [("clients", "0002_walls")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
