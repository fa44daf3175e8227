"""What must hold between the parts of a job file."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from propius import adaptive, constraints
from propius.privacy import AdaptiveClip
from propius.sections import CodecName, ProgramWorkload, QueryWorkload, Rounds
from propius.strategies import (
    EQUAL_WEIGHTS,
    FedAvg,
    FedBuff,
    FedNova,
    FedProx,
    Krum,
    MultiKrum,
    Scaffold,
    name_of,
)

if TYPE_CHECKING:
    from propius.spec import JobSpec


def cross_check(spec: JobSpec) -> dict[str, str]:
    """Return what is wrong of ``spec``, each part of which is right by itself: field → words."""
    errors: dict[str, str] = {}
    for side in ("public", "private"):
        try:
            constraints.parse(getattr(spec.constraints, side))
        except constraints.ConstraintError as error:
            field = ".".join(part for part in ("constraints", side, error.field) if part)
            errors[field] = str(error)
    both = sorted(set(spec.constraints.public) & set(spec.constraints.private))
    for name in both:
        errors[f"constraints.private.{name}"] = f"{name} is also a public constraint; choose one"
    if spec.rounds.min_cohort > spec.rounds.demand:
        errors["rounds.min_cohort"] = (
            f"{spec.rounds.min_cohort} is above rounds.demand ({spec.rounds.demand}); "
            "no round could ever be released"
        )
    errors |= _check_least(spec.rounds) | _check_strategy(spec) | _check_privacy(spec)
    errors |= _check_controls(spec) | _check_held_out(spec)
    if spec.frozen is not None and not isinstance(spec.workload, ProgramWorkload):
        errors["frozen"] = "it needs workload.kind program, which says what is trained"
    alike = adaptive.alike(spec.codec, get_args(CodecName))
    for index, name in enumerate(spec.codec_fallbacks):
        if name not in alike:
            errors[f"codec_fallbacks.{index}"] = adaptive.unlike(name, spec.codec, alike)
    if spec.driven:
        errors |= _check_driven(spec)
    if isinstance(spec.strategy, FedBuff):
        errors |= _check_buffer(spec.strategy, spec.rounds)
    if isinstance(spec.workload, QueryWorkload):
        errors |= _check_query(spec)
    if isinstance(spec.workload, ProgramWorkload) and spec.workload.adaptive is not None:
        found = adaptive.faults(
            spec.workload.adaptive,
            codec=spec.codec,
            known=get_args(CodecName),
            batch_size=spec.workload.train.batch_size,
        )
        errors |= {f"workload.adaptive.{field}": text for field, text in found.items()}
    return errors


def _check_query(spec: JobSpec) -> dict[str, str]:
    """Sums are what they are: nothing may weigh, round or step them."""
    told = {
        "strategy.name": (spec.strategy == FedAvg(), "answers are summed; leave strategy out"),
        "codec": (spec.codec == "fp32", "answers are sent as they are; leave codec out"),
        "codec_fallbacks": (not spec.codec_fallbacks, "answers are sent as they are; leave it out"),
        "privacy": (spec.privacy is None, "noise is for training only"),
        "evaluation.every": (spec.evaluation.every == 0, "there is no model to evaluate"),
    }
    return {field: f"of a query: {words}" for field, (fits, words) in told.items() if not fits}


def _check_privacy(spec: JobSpec) -> dict[str, str]:
    asked = spec.privacy
    if asked is None:
        return {}
    if not isinstance(spec.strategy, EQUAL_WEIGHTS):
        return {
            "privacy": (
                f"{name_of(type(spec.strategy))} is no sum of equal weights; allowed strategies: "
                + ", ".join(name_of(one) for one in EQUAL_WEIGHTS)
            )
        }
    if isinstance(asked.clip, AdaptiveClip) and asked.clip.count_noise is not None:
        least = asked.noise_multiplier / 2
        if asked.clip.count_noise <= least:
            return {
                "privacy.clip.count_noise": (
                    f"{asked.clip.count_noise:g}; above half of the noise multiplier ({least:g}) "
                    "is needed, else nothing of it is left for the model"
                )
            }
    return {}


def _check_strategy(spec: JobSpec) -> dict[str, str]:
    chosen, workload = spec.strategy, spec.workload
    if isinstance(chosen, FedProx | FedNova) and not isinstance(workload, ProgramWorkload):
        kind = "fedprox" if isinstance(chosen, FedProx) else "fednova"
        return {"strategy.name": f"{kind} needs workload.kind program: it rules local training"}
    if isinstance(chosen, FedProx) and isinstance(workload, ProgramWorkload):
        said = workload.train.proximal_mu
        if said not in (0, chosen.mu):
            return {"workload.train.proximal_mu": f"{said:g}; strategy.mu is {chosen.mu:g}"}
    if isinstance(chosen, Krum | MultiKrum):
        least = 2 * chosen.attackers + 3
        if spec.rounds.min_cohort < least:
            return {
                "strategy.attackers": (
                    f"{chosen.attackers} need at least {least} updates in every round; "
                    f"rounds.min_cohort is {spec.rounds.min_cohort}"
                )
            }
    return {}


def _check_controls(spec: JobSpec) -> dict[str, str]:
    """SCAFFOLD's option II takes a device's mean gradient from how far plain SGD went."""
    chosen, workload = spec.strategy, spec.workload
    train = workload.train if isinstance(workload, ProgramWorkload) else None
    if not isinstance(chosen, Scaffold):
        said = train is not None and train.control_variates
        text = f"only strategy scaffold sets it, not {name_of(type(chosen))}; leave it out"
        return {"workload.train.control_variates": text} if said else {}
    if not isinstance(workload, ProgramWorkload) or train is None:
        return {"strategy.name": "scaffold needs workload.kind program: it rules local training"}
    told = {
        "strategy.population": (
            chosen.population >= spec.rounds.demand,
            f"{chosen.population}; at least rounds.demand ({spec.rounds.demand}) is allowed",
        ),
        "codec": (spec.codec == "fp32", f"{spec.codec}; fp32 is allowed"),
        "codec_fallbacks": (not spec.codec_fallbacks, "every device knows fp32; leave it out"),
        "max_update_norm": (spec.max_update_norm is None, "updates are two groups; leave it out"),
        "workload.adaptive": (workload.adaptive is None, "work is not planned; leave it out"),
        "workload.train.optimizer": (train.optimizer == "sgd", f"{train.optimizer}; allowed: sgd"),
        "workload.train.momentum": (train.momentum == 0, f"{train.momentum:g}; 0 is allowed"),
        "workload.train.proximal_mu": (
            train.proximal_mu == 0,
            f"{train.proximal_mu:g}; 0 is allowed",
        ),
        "workload.train.clip_norm": (
            train.clip_norm is None,
            "gradients as they are; leave it out",
        ),
    }
    return {field: f"of scaffold: {words}" for field, (fits, words) in told.items() if not fits}


def _check_held_out(spec: JobSpec) -> dict[str, str]:
    """Devices that are held out are there to evaluate, and have trained nothing of their own."""
    fraction = spec.evaluation.fraction
    if fraction is None:
        return {}
    if not spec.evaluation.every:
        text = f"{fraction:g} of the devices would be held out for nothing; set evaluation.every"
        return {"evaluation.fraction": text}
    if not isinstance(spec.workload, QueryWorkload) and spec.workload.local:
        text = f"{fraction:g}; held-out devices never train, so they have no tensors of their own"
        return {"evaluation.fraction": f"{text}: leave out this or workload.local"}
    return {}


def _check_driven(spec: JobSpec) -> dict[str, str]:
    """A driven job's rounds end with a sum; what would be made of that is its driver's own."""
    errors = {}
    if spec.strategy != FedAvg():
        said = name_of(type(spec.strategy))
        errors["strategy.name"] = f"{said}; a driven job has none: leave it out"
    if spec.privacy is not None:
        errors["privacy"] = "a driven job's sums are without noise; leave it out"
    if spec.evaluation.every:
        errors["evaluation.every"] = f"{spec.evaluation.every}; a driven job has no evaluations"
    return errors


def _check_buffer(strategy: FedBuff, rounds: Rounds) -> dict[str, str]:
    least, most = rounds.min_cohort, rounds.min_demand or rounds.demand
    errors = {}
    if not least <= strategy.buffer_size <= most:
        errors["strategy.buffer_size"] = (
            f"{strategy.buffer_size}; from rounds.min_cohort ({least}) to the devices at work at "
            f"once ({most}) is allowed: a buffer holds one update of each device"
        )
    if rounds.over_selection != 1:
        errors["rounds.over_selection"] = (
            f"{rounds.over_selection:g}; fedbuff keeps rounds.demand devices at work, 1 is allowed"
        )
    return errors


def _check_least(rounds: Rounds) -> dict[str, str]:
    if rounds.min_demand is None or rounds.min_cohort <= rounds.min_demand <= rounds.demand:
        return {}
    return {
        "rounds.min_demand": (
            f"{rounds.min_demand}; from rounds.min_cohort ({rounds.min_cohort}) to "
            f"rounds.demand ({rounds.demand}) is allowed"
        )
    }
