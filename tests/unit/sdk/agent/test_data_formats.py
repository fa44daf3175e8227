"""Parquet files and folders of images, written and read with the libraries themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from propius.agent.datasets import DatasetEntry, DatasetError
from propius.agent.preparing import prepare
from propius.needs import ArrayInfo, ArrayNeed, mismatch
from tests.unit.sdk.agent.test_datasets import arrays_of, made

PARQUET = '[one]\npath = "one.parquet"\ntarget = "species"\n'
IMAGES = '[leaves]\npath = "leaves"\nsize = [4, 6]\n'


def write_table(folder: Path, **columns: Any) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "one.parquet")


def write_image(folder: Path, name: str, colour: Any = (255, 0, 51), mode: str = "RGB") -> None:
    path = folder / "leaves" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (12, 8), colour).save(path)


def whole(sets: Any, name: str) -> tuple[Any, Any]:
    found = arrays_of(sets, name)
    return tuple(np.concatenate([found[f"{one}_train"], found[f"{one}_val"]]) for one in "xy")


async def test_a_parquet_is_read_with_its_schema_and_transforms(tmp_path: Path) -> None:
    write_table(
        tmp_path,
        length=pyarrow.array([1.5, 2.5, 3.0, 4.0], pyarrow.float64()),
        wild=[True, False, True, False],
        width=pyarrow.array([2, 3, 4, 5], pyarrow.int16()),
        note=["not", "a", "number", "here"],
        species=pyarrow.array(["b", "a", "b", "a"]).dictionary_encode(),
    )
    sets = made(
        tmp_path,
        PARQUET + 'columns = ["length", "width", "wild"]\nvalidation = 0.25\n'
        'transforms = [{ kind = "clip", array = "x", min = 0, max = 3.5 },'
        ' { kind = "cast", array = "x", dtype = "float64" }]\n',
    )
    await sets.refresh()
    assert sets.private_attributes("one") == {
        "examples": 3, "validation_examples": 1, "label_classes": 2,
    }  # fmt: skip
    assert sets.describe("one").schema == {
        "x": ArrayInfo(dtype="float64", shape=[3]),
        "y": ArrayInfo(dtype="int64", shape=[], classes=2),
    }
    assert mismatch({"x": ArrayNeed(dtype="float32")}, sets.describe("one").schema) == "x.dtype"
    x, y = whole(sets, "one")
    order = np.argsort(x[:, 0])
    assert x[order].tolist() == [[1.5, 2, 1], [2.5, 3, 0], [3, 3.5, 1], [3.5, 3.5, 0]]
    assert y[order].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"x": [1.0, None], "species": [0, 1]}, "one.parquet: column 'x' has 1 empty values"),
        ({"x": ["red", "2"], "species": [0, 1]}, "one.parquet: column 'x' is not all numbers"),
        ({"x": [[1.0], [2.0]], "species": [0, 1]}, "column 'x' is not all numbers"),
        ({"x": np.array([0, 1], "M8[ns]"), "species": [0, 1]}, "column 'x' is not all numbers"),
        ({"x": [1.0, float("nan")], "species": [0, 1]}, "column 'x' has values that are not fin"),
        ({"x": [1.0, 2.0], "species": [0.5, float("inf")]}, "target 'species' has values not fin"),
        ({"x": [1.0, 2.0]}, "target is 'species'; it must be one of x"),
        ({"species": [1, 0]}, "no column but the target 'species'"),
    ],
)
def test_what_is_wrong_with_a_parquet_is_named(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    write_table(tmp_path, **columns)
    entry = DatasetEntry(path="one.parquet", target="species")
    with pytest.raises(DatasetError, match=words):
        prepare(entry, tmp_path / "one.parquet", None)


async def test_a_damaged_parquet_is_named_and_read_again_once_it_is_whole(tmp_path: Path) -> None:
    write_table(tmp_path, x=[1.0, 2.0], species=[0, 1])
    path = tmp_path / "one.parquet"
    good = path.read_bytes()
    for bad in (b"", good[: len(good) // 2], good[:4] + bytes(len(good) - 12) + good[-8:]):
        path.write_bytes(bad)
        with pytest.raises(DatasetError, match=r"one\.parquet cannot be read"):
            prepare(DatasetEntry(path="one.parquet", target="species"), path, None)
    sets = made(tmp_path, PARQUET)
    await sets.refresh()
    with pytest.raises(DatasetError, match=r"one\.parquet cannot be read"):
        sets.private_attributes("one")
    path.write_bytes(good)
    await sets.refresh()
    assert sets.private_attributes("one")["examples"] == 1


async def test_folders_of_images_become_channels_first_floats(tmp_path: Path) -> None:
    write_image(tmp_path, "oak/one.png")
    write_image(tmp_path, "oak/two.jpg", (255, 255, 255))
    write_image(tmp_path, "elm/three.gif", 0, "P")
    write_image(tmp_path, "elm/four.png", (0, 0, 0, 128), "RGBA")
    (tmp_path / "leaves/elm/notes.txt").write_text("no image")
    sets = made(tmp_path, IMAGES + 'transforms = [{ kind = "flatten", array = "x" }]\n')
    await sets.refresh()
    assert sets.private_attributes("leaves") == {
        "examples": 3, "validation_examples": 1, "label_classes": 2,
    }  # fmt: skip
    assert sets.describe("leaves").schema["x"] == ArrayInfo(dtype="float32", shape=[3 * 4 * 6])
    x, y = whole(sets, "leaves")
    oaks = sorted((one.reshape(3, 4, 6)[:, 0, 0] * 255).tolist() for one in x[y == 1])
    assert oaks == [[255, 0, 51], [255, 255, 255]]  # the class after elm
    assert not x[y == 0].any()


async def test_grey_images_have_one_channel_and_16_bits_are_not_cut_off(tmp_path: Path) -> None:
    (tmp_path / "leaves/oak").mkdir(parents=True)
    for index, value in enumerate((0x8000, 0xFFFF)):
        Image.fromarray(np.full((8, 12), value, np.uint16)).save(
            tmp_path / f"leaves/oak/{index}.png"
        )
    sets = made(tmp_path, IMAGES + "grey = true\n")
    await sets.refresh()
    assert sets.describe("leaves").schema["x"] == ArrayInfo(dtype="float32", shape=[1, 4, 6])
    x, _ = whole(sets, "leaves")
    assert sorted({round(float(one), 2) for one in x.ravel()}) == [0.5, 1.0]


async def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    picture = Image.fromarray(np.repeat(np.array([[255, 0]], np.uint8), 8, axis=0).repeat(4, 1))
    told = Image.Exif()
    told[0x0112] = 6  # turn right by a quarter
    (tmp_path / "leaves/oak").mkdir(parents=True)
    for name in ("a", "b"):
        picture.save(tmp_path / f"leaves/oak/{name}.jpg", exif=told, quality=100)
    sets = made(tmp_path, '[leaves]\npath = "leaves"\nsize = [8, 8]\ngrey = true\n')
    await sets.refresh()
    x, _ = whole(sets, "leaves")
    assert x[0, 0, 0].min() > 0.9
    assert x[0, 0, -1].max() < 0.1


def test_what_is_wrong_with_images_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "leaves"
    bad = folder / "oak/bad.png"
    write_image(tmp_path, "oak/good.bmp")
    half = (folder / "oak/good.bmp").read_bytes()[:100]
    deep = Image.fromarray(np.ones((2, 2), np.float32))

    def refused(**entry: Any) -> str:
        with pytest.raises(DatasetError) as raised:
            prepare(DatasetEntry(path="leaves", **entry), folder, None)
        return str(raised.value)

    for content in (b"", b"no image at all", half):
        bad.write_bytes(content)
        assert "oak/bad.png cannot be read as an image: " in refused()
    deep.save(bad, format="TIFF")
    assert "oak/bad.png has pixels of 32 bits; 8 and 16 are read" in refused()
    bad.unlink()
    assert "there is no folder 'elm', which classes names" in refused(classes=["oak", "elm"])
    (folder / "oak/good.bmp").unlink()
    assert "no image in oak" in refused()
    folder.rename(tmp_path / "moved")
    assert "leaves cannot be read" in refused()


@pytest.mark.parametrize(
    ("module", "path", "words"),
    [
        ("pyarrow", "one.parquet", "parquet needs pyarrow: pip install pyarrow"),
        ("PIL", "leaves", "images need Pillow: pip install pillow"),
    ],
)
def test_a_format_whose_library_is_missing_says_what_to_install(
    tmp_path: Path, module: str, path: str, words: str
) -> None:
    without = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from pathlib import Path\nfrom propius.agent import loaders\n"
        f"from propius.agent.datasets import DatasetEntry\n"
        f"loaders.load(DatasetEntry(path={path!r}, target='y'), Path({path!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", without], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert words in done.stderr.splitlines()[-1]
