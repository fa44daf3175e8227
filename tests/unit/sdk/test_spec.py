"""The job file: every fault names its field and what is allowed."""

from __future__ import annotations

import copy
from typing import Any, get_args

import pytest

from propius import codec, spec
from propius.sections import CodecName

DIGEST = "a" * 64
JOB: dict[str, Any] = {
    "schema": 1,
    "name": "digits",
    "workload": {"kind": "program", "program": DIGEST, "dataset": "digits"},
    "parameters": DIGEST,
    "rounds": {"count": 3, "demand": 8},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(JOB)
    *steps, last = path.split(".")
    part = raw
    for step in steps:
        part = part.setdefault(step, {})
    part[last] = value
    return raw


def faults(raw: Any) -> dict[str, str]:
    with pytest.raises(spec.SpecError) as caught:
        spec.parse(raw)
    return caught.value.errors


def test_a_small_job_gets_its_defaults() -> None:
    plain = spec.normalised(spec.parse(JOB))
    assert plain["rounds"]["min_cohort"] == 5
    assert plain["workload"]["train"]["batch_size"] == 32
    assert plain["strategy"]["name"] == "fedavg"


def test_all_faults_are_told_at_once_with_what_is_allowed() -> None:
    found = faults({
        "schema": 1,
        "name": "a?",
        "nmae": "digits",
        "workload": {"kind": "program", "program": "xyz", "train": {"learning_rte": 1}},
        "rounds": {"count": 0, "demand": "8", "deadline": 3},
        "strategy": {"name": "fedmagic"},
        "privacy": {"clip": {"kind": "fixed", "norm": 0}},
    })  # fmt: skip
    words = {
        "name": "a letter or digit first; then spaces and _ . : / - are allowed",
        "nmae": "unknown field 'nmae'; did you mean 'name'? allowed: schema, name, workload",
        "parameters": "this field is required",
        "workload.program": "64 of the digits 0-9 and a-f",
        "workload.dataset": "this field is required",
        "workload.train.learning_rte": "did you mean 'learning_rate'? allowed: ",
        "rounds.count": "0 is not allowed: Expected `int` >= 1",
        "rounds.demand": "Expected `int`, got `str`",
        "rounds.deadline": "did you mean 'deadline_s'?",
        "strategy.name": "allowed: fedavg",
        "privacy.clip.norm": "> 0",
        "privacy.noise_multiplier": "required",
    }
    assert set(found) == set(words)
    assert {field: words[field] in text for field, text in found.items()} == dict.fromkeys(
        words, True
    )


def test_normalising_twice_changes_nothing() -> None:
    raw = changed("constraints.public", {"os": {"in": ["linux"]}, "cpu_score": 2})
    once = spec.normalised(spec.parse(raw))
    assert once["constraints"]["public"]["cpu_score"] == {"min": 2.0}
    assert spec.normalised(spec.parse(once)) == once


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        ("rounds.demand", -1, "rounds.demand", "-1 is not allowed: Expected `int` >= 1"),
        ("rounds.demand", "8", "rounds.demand", "Expected `int`, got `str`"),
        ("rounds.demand", True, "rounds.demand", "got `bool`"),
        ("rounds.demands", 8, "rounds.demands", "unknown field"),
        ("rounds.deadline_s", 0.5, "rounds.deadline_s", ">= 1"),
        ("rounds.over_selection", 9, "rounds.over_selection", "<= 3"),
        ("rounds.on_shortfall", "wait", "rounds.on_shortfall", "allowed: extend, fail, restart"),
        ("rounds.min_cohort", 9, "rounds.min_cohort", "above rounds.demand (8)"),
        ("rounds.min_demand", 9, "rounds.min_demand", "5) to rounds.demand (8) is allowed"),
        ("rounds.min_demand", 4, "rounds.min_demand", "4; from rounds.min_cohort (5)"),
        ("colour", "red", "colour", "unknown field"),
        ("schema", 2, "schema", "allowed: 1"),
        ("name", "a\n", "name", "regex"),
        ("name", "", "name", "length >= 1"),
        ("parameters", "xyz", "parameters", "regex"),
        ("parameters", DIGEST + "\n", "parameters", "length <= 64"),
        ("workload.kind", "shell", "workload.kind", "allowed: program, handler"),
        ("workload.train", {"optimizer": "lion"}, "workload.train.optimizer", "adam, sgd"),
        ("workload.train", {"learning_rate": -1}, "workload.train.learning_rate", "> 0"),
        ("workload", {"kind": "handler", "dataset": "d"}, "workload.handler", "required"),
        ("workload", 3, "workload", "Expected `object`"),
        ("codec", "zip", "codec", "delta-int8, fp16, fp32, int8"),
        ("pools", ["a", 3], "pools.1", "Expected `str`"),
        ("seed", 1 << 63, "seed", "<= 9223372036854775807"),
        ("strategy", {"name": "fedmagic"}, "strategy.name", "allowed: fedavg"),
        ("strategy", {"name": "fedavg", "pace": 1}, "strategy.pace", "unknown field"),
        ("strategy", {"name": "fedadam", "beta1": 1}, "strategy.beta1", "< 1.0"),
        ("strategy", {"name": "fedadam", "tau": 0}, "strategy.tau", "> 0.0"),
        ("strategy", {"name": "fedavgm", "momentum": "0.9"}, "strategy.momentum", "got `str`"),
        ("strategy", {"name": "fedprox", "mu": 0}, "strategy.mu", "> 0.0"),
        ("strategy", {"name": "trimmed_mean", "share": 0.5}, "strategy.share", "< 0.5"),
        ("strategy", {"name": "krum", "attackers": 2}, "strategy.attackers", "at least 7 updates"),
        ("strategy", {"name": "fedbuff"}, "strategy.buffer_size", "10; from rounds.min_cohort (5)"),
        ("strategy", {"name": "fedbuff", "max_staleness": 0}, "strategy.max_staleness", ">= 1"),
        ("max_update_norm", 0, "max_update_norm", "> 0"),
        ("frozen", "xyz", "frozen", "regex"),
        (
            "privacy",
            {"clip": {"kind": "none"}, "noise_multiplier": 1},
            "privacy.clip.kind",
            "allowed: fixed, adaptive",
        ),
        ("privacy", {"clip": {"kind": "fixed", "norm": 1}}, "privacy.noise_multiplier", "required"),
        (
            "privacy",
            {"clip": {"kind": "adaptive", "count_noise": 0.5}, "noise_multiplier": 1},
            "privacy.clip.count_noise",
            "above half of the noise multiplier (0.5)",
        ),
        ("constraints", {"public": {"cpu": {"mn": 1}}}, "constraints.public.cpu", "mn"),
        ("constraints", {"private": {"n": "x"}}, "constraints.private.n", "no condition"),
        ("constraints", {"public": [1]}, "constraints.public", "Expected `object`"),
    ],
)
def test_a_fault_names_its_field_and_what_is_allowed(
    path: str, value: Any, field: str, words: str
) -> None:
    errors = faults(changed(path, value))
    assert list(errors) == [field]
    assert words in errors[field]


def test_fedprox_sets_the_devices_term() -> None:
    plain = spec.normalised(spec.parse(changed("strategy", {"name": "fedprox", "mu": 0.5})))
    assert plain["workload"]["train"]["proximal_mu"] == 0.5
    assert spec.normalised(spec.parse(plain)) == plain
    raw = changed("strategy", {"name": "fedprox", "mu": 0.5})
    raw["workload"]["train"] = {"proximal_mu": 0.1}
    assert faults(raw) == {"workload.train.proximal_mu": "0.1; strategy.mu is 0.5"}


SCAFFOLD = {"name": "scaffold", "population": 20}


def test_scaffold_tells_devices_to_keep_control_variates() -> None:
    plain = spec.normalised(spec.parse(changed("strategy", SCAFFOLD)))
    assert plain["workload"]["train"]["control_variates"] is True
    assert spec.normalised(spec.parse(plain)) == plain
    without = spec.normalised(spec.parse(changed("strategy", {"name": "fedavg"})))
    assert "control_variates" not in without["workload"]["train"]


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        ("strategy", {"name": "scaffold"}, "strategy.population", "required"),
        ("strategy.population", 7, "strategy.population", "7; at least rounds.demand (8)"),
        ("codec", "delta-int8", "codec", "delta-int8; fp32 is allowed"),
        ("max_update_norm", 3, "max_update_norm", "leave it out"),
        (
            "privacy",
            {"noise_multiplier": 1, "clip": {"kind": "fixed", "norm": 1}},
            "privacy",
            "scaffold is no sum of equal weights",
        ),
        ("driven", True, "strategy.name", "a driven job has none"),
        ("workload.adaptive", {}, "workload.adaptive", "leave it out"),
        ("workload.train", {"optimizer": "adam"}, "workload.train.optimizer", "allowed: sgd"),
        ("workload.train", {"momentum": 0.9}, "workload.train.momentum", "0 is allowed"),
        ("workload.train", {"proximal_mu": 1}, "workload.train.proximal_mu", "0 is allowed"),
        ("workload.train", {"clip_norm": 1}, "workload.train.clip_norm", "leave it out"),
    ],
)
def test_what_scaffold_cannot_do_is_refused(path: str, value: Any, field: str, words: str) -> None:
    raw = changed("strategy", dict(SCAFFOLD))
    part = raw
    *above, last = path.split(".")
    for name in above:
        part = part[name]
    part[last] = value
    errors = faults(raw)
    assert list(errors) == [field]
    assert words in errors[field]


def test_only_scaffold_has_control_variates() -> None:
    raw = changed("workload.train", {"control_variates": True})
    assert list(faults(raw)) == ["workload.train.control_variates"]


@pytest.mark.parametrize("name", ["fedprox", "fednova", "scaffold"])
def test_a_strategy_that_rules_training_needs_a_program(name: str) -> None:
    raw = changed("strategy", SCAFFOLD if name == "scaffold" else {"name": name})
    raw["workload"] = {"kind": "handler", "handler": "train", "dataset": "digits"}
    assert list(faults(raw)) == ["strategy.name"]


def test_fedbuff_keeps_as_many_devices_at_work_as_are_asked_for() -> None:
    raw = changed("strategy", {"name": "fedbuff", "buffer_size": 6})
    raw["rounds"] |= {"over_selection": 1.5}
    assert "1 is allowed" in faults(raw)["rounds.over_selection"]


def test_privacy_is_for_sums_of_equal_weights_only() -> None:
    raw = changed("strategy", {"name": "median"})
    raw["privacy"] = {"clip": {"kind": "fixed", "norm": 1}, "noise_multiplier": 1}
    assert "median is no sum of equal weights; allowed strategies: fedavg" in faults(raw)["privacy"]


def test_a_job_that_does_not_adapt_is_as_it_always_was() -> None:
    assert "adaptive" not in spec.normalised(spec.parse(JOB))["workload"]


@pytest.mark.parametrize(
    ("strategy", "weigh"),
    [("fedavg", "processed"), ("fedprox", "examples"), ("fednova", "examples")],
)
def test_the_strategy_says_how_partial_work_is_weighed(strategy: str, weigh: str) -> None:
    raw = changed("workload.adaptive", {"codecs": ["fp16"]})
    raw["strategy"] = {"name": strategy}
    raw["codec"] = "fp32"
    assert spec.normalised(spec.parse(raw))["workload"]["adaptive"]["weigh"] == weigh


@pytest.mark.parametrize(
    ("block", "field", "words"),
    [
        ({"codecs": ["topk1"]}, "codecs.0", "cannot stand beside the codec 'fp32'; allowed"),
        ({"codecs": ["zip"]}, "codecs.0", "allowed, since they are alike"),
        ({"min_batch": 60_000}, "min_batch", "60000 is above train.batch_size"),
    ],
)
def test_what_cannot_adapt_is_named(block: dict[str, Any], field: str, words: str) -> None:
    raw = changed("workload.adaptive", block)
    raw["codec"] = "fp32"
    found = faults(raw)
    assert list(found) == [f"workload.adaptive.{field}"]
    assert words in found[f"workload.adaptive.{field}"]


def test_fallbacks_of_the_codec_are_alike_and_only_kept_where_they_are_used() -> None:
    raw = changed("codec_fallbacks", ["bf16", "fp32"])
    raw["codec"] = "int8"
    assert spec.normalised(spec.parse(raw))["codec_fallbacks"] == ["bf16", "fp32"]
    raw["codec"] = "delta-int8"
    found = faults(raw)
    assert list(found) == ["codec_fallbacks.0", "codec_fallbacks.1"]
    assert (
        "'bf16' cannot stand beside the codec 'delta-int8'; allowed" in found["codec_fallbacks.0"]
    )
    assert "codec_fallbacks" not in spec.normalised(spec.parse(JOB))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("strategy", {"name": "median"}, "of a query: answers are summed"),
        ("codec_fallbacks", ["fp16"], "of a query: answers are sent as they are"),
        ("codec", "fp16", "of a query: answers are sent as they are"),
        ("evaluation", {"every": 1}, "of a query: there is no model"),
    ],
)
def test_a_query_has_no_settings_of_training(field: str, value: Any, words: str) -> None:
    raw = changed("workload", {"kind": "query", "handler": "ages", "dataset": "people"})
    raw = {**raw, "strategy": {"name": "fedavg"}, "codec": "fp32", "evaluation": {}}
    raw.pop("frozen", None)
    assert spec.parse(raw).workload == spec.QueryWorkload(handler="ages", dataset="people")
    [found] = [text for name, text in faults({**raw, field: value}).items() if field in name]
    assert words in found


def test_the_job_file_knows_every_codec() -> None:
    assert set(get_args(CodecName)) == set(codec.CODECS)


def test_a_missing_section_is_named() -> None:
    raw = copy.deepcopy(JOB)
    del raw["rounds"]
    assert faults(raw) == {"rounds": "this field is required"}


def test_a_job_that_is_no_object_is_named() -> None:
    assert "not list" in faults([])[""]


def test_several_faults_of_constraints_come_together() -> None:
    raw = changed(
        "constraints",
        {"public": {"a": {"min": 2, "max": 1}, "b": 1}, "private": {"b": 1, "c": {"in": []}}},
    )
    assert set(faults(raw)) == {
        "constraints.public.a",
        "constraints.private.b",
        "constraints.private.c",
    }


def test_a_share_of_devices_is_held_out_only_where_it_can_evaluate() -> None:
    job = changed("evaluation", {"every": 2, "fraction": 0.25})
    assert spec.normalised(spec.parse(job))["evaluation"]["fraction"] == 0.25
    # Older SDKs do not know the field: it is told only where it is used.
    assert "fraction" not in spec.normalised(spec.parse(JOB))["evaluation"]
    for fraction in (0, 0.51):
        told = faults(changed("evaluation", {"every": 2, "fraction": fraction}))
        assert "allowed" in told["evaluation.fraction"]
    told = faults(changed("evaluation", {"fraction": 0.25}))
    assert "set evaluation.every" in told["evaluation.fraction"]
    job["workload"]["local"] = ["bn*"]
    assert "leave out this or workload.local" in faults(job)["evaluation.fraction"]
