"""What plugins add to the attributes, and that none of them can take the agent down."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from propius.agent import attributes
from propius.agent.identity import AttributeSchema, Home
from propius.agent.pace import Pace

PLUGINS = """
import sys, threading
def camera(): return {"camera": True, "lenses": 2}
def broken(): raise RuntimeError("no camera")
def leaving(): sys.exit(3)
def wrong(): return {"memory_mb": "a lot", "depth": [1, 2]}
def typed(): return {"cores": "two"}
def stuck(): threading.Event().wait()
"""
SCHEMA = [
    AttributeSchema(name="camera", type="boolean"),
    AttributeSchema(name="lenses", type="number"),
    AttributeSchema(name="cores", type="number"),
    AttributeSchema(name="memory_mb", type="number"),
    AttributeSchema(name="network_mbps", type="number"),
    AttributeSchema(name="accelerator", type="string"),
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    one = Home(tmp_path / "device")
    one.prepare()
    (one / "attributes.toml").write_text("cpu_score = 1.0\n")
    return one


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution with one plugin that works and five that do not."""
    (tmp_path / "faulty_plugins.py").write_text(PLUGINS)
    metadata = tmp_path / "faulty_plugins-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-plugins\nVersion: 1\n")
    names = ["broken", "leaving", "wrong", "typed", "stuck", "camera"]
    lines = [f"{name} = faulty_plugins:{name}" for name in names]
    (metadata / "entry_points.txt").write_text("\n".join(["[propius.attributes]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(attributes, "PLUGIN_S", 0.2)
    sys.modules.pop("faulty_plugins", None)


@pytest.mark.usefixtures("plugins")
def test_plugins_add_attributes_and_the_faulty_ones_are_passed_over(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    found = attributes.collect(home, SCHEMA)
    assert (found["camera"], found["lenses"]) == (True, 2)
    assert isinstance(found["cores"], int)
    assert isinstance(found["memory_mb"], int)
    for name in ("broken", "leaving", "wrong", "stuck"):
        assert f"attributes.plugin {name}" in caplog.text
    assert "cores='two'" in caplog.text


def test_the_network_rate_follows_from_past_downloads(home: Home) -> None:
    assert "network_mbps" not in attributes.collect(home, SCHEMA)
    pace = Pace(home / "pace.json")
    pace._learnt.down_bytes_per_s = 1_234_567.0
    pace._save()
    assert attributes.collect(home, SCHEMA)["network_mbps"] == 9.9


def test_the_accelerator_is_told_without_torch(home: Home) -> None:
    assert attributes.collect(home, SCHEMA)["accelerator"] in {"none", "cuda", "rocm", "mps"}
