"""What the owner's files allow, and how their faults are named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from propius import wire
from propius.agent import attributes, consent, datasets, device, identity, workloads
from propius.agent import spool as spool_module
from propius.agent.cache import BlobCache
from propius.agent.identity import AttributeSchema, Home, IdentityError
from propius.agent.owner_files import OwnerFileError
from propius.agent.spool import Spool
from tests.unit.sdk.agent.scripted import assignment, blob, candidate, device_home, digest

CONSENT = """
[pool]
kinds = ["program"]
datasets = ["digits"]
[tenants.acme]
kinds = ["program", "handler"]
[tenants.globex]
kinds = []
[tenants.outsider]
kinds = ["handler"]
datasets = ["cancer"]
"""


def code(found: object) -> str | None:
    return getattr(found, "code", None)


# --- consent ---


def test_without_a_file_the_pools_tenants_may_and_nobody_else(tmp_path: Path) -> None:
    one = consent.load(tmp_path / "consent.toml", pool_tenants=["acme"])
    assert one.check(tenant="acme", kind="program", dataset="any") is None
    refusal = one.check(tenant="mallory", kind="program", dataset="any")
    assert refusal is not None
    assert "mallory" in refusal.message


@pytest.mark.parametrize(
    ("tenant", "kind", "dataset", "allowed"),
    [
        ("initech", "program", "digits", True),
        ("initech", "program", "cancer", False),
        ("initech", "handler", "digits", False),
        ("acme", "handler", "cancer", True),
        ("globex", "program", "digits", False),
        ("outsider", "handler", "cancer", True),
        ("outsider", "handler", "digits", False),
        ("mallory", "program", "digits", False),
    ],
)
def test_the_file_decides_by_tenant_kind_and_data_set(
    tmp_path: Path, tenant: str, kind: str, dataset: str, allowed: bool
) -> None:
    path = tmp_path / "consent.toml"
    path.write_text(CONSENT)
    one = consent.load(path, pool_tenants=["acme", "globex", "initech"])
    assert (one.check(tenant=tenant, kind=kind, dataset=dataset) is None) is allowed


def test_consent_is_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "consent.toml"
    path.write_text(CONSENT)
    words = consent.load(path, pool_tenants=["acme", "initech"]).words()
    assert words == [
        "tenants of this pool (initech): programs on digits",
        "acme: programs and handlers on every data set",
        "globex: nothing",
        "outsider: handlers on cancer",
        "anybody else: nothing",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[pool]\nkinds = ['shell']", "kinds"),
        ("[pools]\n", "pools"),
        ("[pool\n", "no TOML"),
    ],
)
def test_a_faulty_file_is_named_with_its_field(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "consent.toml"
    path.write_text(text)
    with pytest.raises(OwnerFileError, match=words) as caught:
        consent.load(path, pool_tenants=[])
    assert "consent.toml" in str(caught.value)


# --- the judge ---


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"tenant": "mallory"}, "consent"),
        ({"workload": {"kind": "handler", "handler": "x", "dataset": "digits"}}, "unsupported"),
        ({"workload": {"kind": "shell", "dataset": "digits"}}, "unsupported"),
        ({"workload": {"kind": "program", "dataset": "digits"}}, "unsupported"),
        ({"workload": {"kind": "handler", "handler": "logistic", "dataset": "x"}}, "dataset"),
        ({"constraints": {"label_classes": {"min": 6}}}, None),
        ({"constraints": {"label_classes": {"min": 7}}}, "private_constraint"),
        ({"constraints": {"salary": {"min": 1}}}, "private_constraint"),
        ({"constraints": {"label_classes": {"about": 7}}}, "unsupported"),
    ],
)
def test_the_judge_decides_on_the_device(
    tmp_path: Path, changes: dict[str, object], expected: str | None
) -> None:
    judge = device.load(device_home(tmp_path), programs=False).judge()
    assert code(judge(candidate(**changes))) == expected
    assert code(judge(assignment(**changes))) == expected


def test_a_codec_of_the_future_is_declined_before_the_work(tmp_path: Path) -> None:
    judge = device.load(device_home(tmp_path)).judge()
    assert code(judge(assignment(codec="int3"))) == "unsupported"


def test_training_of_a_newer_platform_is_declined_by_the_name_of_what_is_new(
    tmp_path: Path,
) -> None:
    judge = device.load(device_home(tmp_path)).judge()
    train = {"batch_size": 2, "sharpness": 0.5}
    workload = {"kind": "program", "program": "f" * 64, "dataset": "digits", "train": train}
    program = wire.Blob(digest="f" * 64, size_bytes=7)
    for one in (assignment(workload=workload, program=program), candidate(workload=workload)):
        refusal = judge(one)
        assert refusal is not None
        assert refusal.code == "unsupported"
        assert "sharpness" in refusal.message


def test_a_program_in_a_handlers_clothes_is_refused(tmp_path: Path) -> None:
    judge = device.load(device_home(tmp_path)).judge()
    assert code(judge(assignment())) is None
    smuggled = wire.Blob(digest="a" * 64, size_bytes=1)
    assert code(judge(assignment(program=smuggled))) == "unsupported"


def test_a_data_set_that_is_gone_is_refused_without_its_path(tmp_path: Path) -> None:
    judge = device.load(device_home(tmp_path)).judge()
    (tmp_path / "digits.npz").unlink()
    refusal = judge(candidate())
    assert refusal is not None
    assert refusal.code == "dataset"
    assert "npz" not in refusal.message


# --- data sets, attributes, workloads ---


def test_private_attributes_follow_the_file_when_it_changes(tmp_path: Path) -> None:
    device_home(tmp_path)
    sets = datasets.load(tmp_path / "datasets.toml")
    assert sets.private_attributes("digits")["label_classes"] == 6
    path = tmp_path / "digits.npz"
    np.savez(path, x_train=[1.0], y_train=[1.5], x_val=[1.0], y_val=[0.5])
    os.utime(path, ns=(1, 1))
    found = sets.private_attributes("digits")
    assert found["examples"] == 1
    assert "label_classes" not in found, "not counted for numbers that are no classes"


def test_a_pickle_in_a_data_set_is_refused(tmp_path: Path) -> None:
    device_home(tmp_path)
    odd = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "digits.npz", x_train=odd, y_train=odd, x_val=odd, y_val=odd)
    with pytest.raises(datasets.DatasetError):
        datasets.load(tmp_path / "datasets.toml").private_attributes("digits")


def test_attributes_are_measured_corrected_and_cut_to_the_schema(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "attributes.toml").write_text('region = "north"\nnickname = "bob"\n')
    schema = [
        AttributeSchema(name="region", type="string"),
        AttributeSchema(name="memory_mb", type="number"),
        AttributeSchema(name="cpu_score", type="number"),
    ]
    found = attributes.collect(home, schema, {"cpu_score": 2.5})
    assert set(found) == {"region", "memory_mb", "cpu_score"}
    assert (found["region"], found["cpu_score"]) == ("north", 2.5)


def test_an_attribute_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    (tmp_path / "attributes.toml").write_text("region = 3\n")
    with pytest.raises(OwnerFileError, match="region is 3; the platform wants a string"):
        attributes.collect(
            Home(tmp_path), [AttributeSchema(name="region", type="string")], {"cpu_score": 1}
        )


def test_the_cpu_score_is_measured_once(tmp_path: Path) -> None:
    path = tmp_path / "cpu_score.json"
    score = attributes.cpu_score(path, seconds=0.02)
    assert score > 0
    assert attributes.cpu_score(path) == score


def test_handlers_are_names_of_functions_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "handlers.toml"
    path.write_text('[logistic]\ntrain = "os; import evil"\n')
    with pytest.raises(OwnerFileError, match="train"):
        workloads.load(path)


@pytest.mark.torch
def test_programs_are_offered_only_if_wanted(tmp_path: Path) -> None:
    device_home(tmp_path)
    path = tmp_path / "handlers.toml"
    assert workloads.load(path, programs=False).offered() == {"handler": ["logistic"]}
    assert "program" in workloads.load(path, programs=True).offered()


# --- the folder ---


def test_the_key_is_private_and_stays_the_same(tmp_path: Path) -> None:
    home = Home(tmp_path / "d")
    first = identity.make_key(home)
    assert (home / "device.key").stat().st_mode & 0o777 == 0o600
    assert identity.public_hex(identity.make_key(home)) == identity.public_hex(first)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "d")
    identity.make_key(home)
    (home / "device.key").chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        identity.load_key(home)


def test_a_folder_without_a_device_says_how_to_enrol(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="propius device enrol"):
        device.load(tmp_path)


# --- spool and cache ---


def test_a_damaged_update_is_not_sent(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.update("a1").write_bytes(b"update")
    spool.save(assignment(), weight=1.0, metrics={})
    assert spool.newest() is not None
    spool.update("a1").write_bytes(b"damage")
    assert spool.newest() is None
    assert not list(tmp_path.iterdir())


def test_an_update_that_could_not_be_sent_is_kept_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    spool.update("a1").write_bytes(b"update")
    spool.save(assignment(), weight=1.0, metrics={})
    assert spool_module.RETENTION_S == 24 * 3600
    assert spool.newest() is not None
    monkeypatch.setattr(spool_module, "RETENTION_S", -1.0)
    assert spool.newest() is None
    assert not list(tmp_path.iterdir())


def test_only_an_accepted_update_makes_a_memory(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    (tmp_path / "spool").mkdir()
    spool.update("a1").write_bytes(b"update")
    spool.remembered("a1").write_bytes(b"refused")
    spool.save(assignment(), weight=1.0, metrics={})
    spool.forget("a1")
    assert not list((tmp_path / "spool").iterdir())
    spool.accepted("a1")
    assert not spool.memory("j1").exists()
    spool.update("a1").write_bytes(b"update")
    spool.remembered("a1").write_bytes(b"accepted")
    spool.save(assignment(), weight=1.0, metrics={})
    spool.accepted("a1")
    assert spool.memory("j1").read_bytes() == b"accepted"


def test_an_assignments_name_cannot_leave_the_spool(tmp_path: Path) -> None:
    assert Spool(tmp_path).update("../../etc/passwd").parent == tmp_path


def test_the_cache_lets_the_longest_unused_go(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "c", tmp_path / "p", max_bytes=250)
    (tmp_path / "c").mkdir()
    (tmp_path / "p").mkdir()
    names = []
    for number in range(4):
        content = bytes([number]) * 100
        names.append(digest(content))
        cache.partial(names[-1]).write_bytes(content)
        os.utime(cache.admit(names[-1]), (number, number))
    assert [cache.find(name) is not None for name in names] == [False, False, True, True]


def test_the_cache_spares_all_that_is_needed_now(tmp_path: Path) -> None:
    home = device_home(tmp_path)
    cache = BlobCache(home / "cache", home / "partial", max_bytes=250)
    old, base, model = (bytes([number]) * 100 for number in range(3))
    for content in (old, base, model):
        cache.partial(digest(content)).write_bytes(content)
    cache.admit(digest(base))
    os.utime(cache.admit(digest(old)))
    os.utime(cache.path(digest(base)), (0, 0))
    cache.spare([digest(base), digest(model)])
    cache.admit(digest(model))
    assert [cache.find(digest(one)) is not None for one in (old, base, model)] == [
        False, True, True,
    ]  # fmt: skip


def test_an_assignment_that_the_cache_cannot_hold_is_declined_in_numbers(tmp_path: Path) -> None:
    judge = device.load(device_home(tmp_path)).judge(cache_bytes=250)
    refusal = judge(assignment(parameters=b"m" * 150, control=blob(b"c" * 150)))
    assert refusal is not None
    assert refusal.code == "too_large"
    assert "300 bytes" in refusal.message
    assert "250" in refusal.message
    assert judge(assignment(parameters=b"m" * 250, control=blob(b"m" * 250))) is None


def test_a_damaged_cache_entry_is_not_used(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, tmp_path)
    cache.path("a" * 64).write_bytes(b"something else")
    assert cache.find("a" * 64) is None
    assert not cache.path("a" * 64).exists()
