"""What devices say when they turn work down or fail at it, in words. Pure: a code in, words out.

Each code that the SDK can send has its words here, which a test sees to; so do those by which an
update is refused. Devices in other languages may send others.
"""

from __future__ import annotations

DECLINED = {
    "agent_error": "their agents met a fault of their own",
    "busy": "they were at other work",
    "condition": "their owners' conditions did not hold",
    "consent": "their owners do not consent",
    "dataset": "they do not have the data set, or cannot read it",
    "other": "for a reason that is not known here",
    "preparing": "they were preparing the data set",
    "private_constraint": "a private constraint does not hold",
    "probe_limit": "too many private conditions were tried on them",
    "too_large": "what it needs does not fit on their disks",
    "too_slow": "they could not make the deadline",
    "unsupported": "they cannot run the workload",
}
FACETS = {
    "classes": "their data set has more classes",
    "dtype": "their data set has another type of numbers",
    "shape": "their data set has another shape",
}
_NO_FILE = "made an update that is no proper safetensors file"
_NO_PROGRAM = "found the program damaged"
_TOO_LATE = "came too late"
_STORAGE = "came when the platform could not store the update"
FAILED = {
    # On the way there.
    "agent_error": "met a fault in the agent itself; its log on the device says more",
    "bad_assignment": "could not read what they were assigned",
    "condition": "gave it back, as their owners' conditions did not hold",
    "digest_mismatch": "got or sent other bytes than were announced, twice",
    "disk": "could not write to their disk, or it is full",
    "download_refused": "got no download of what they needed",
    "too_large": "got or made more bytes than the job allows",
    "too_slow": "could not make the deadline",
    # At work.
    "bad_handler": "had a handler that cannot be called, or that returned what it may not",
    "bad_program": _NO_PROGRAM,
    "bad_program_container": _NO_PROGRAM,
    "bad_program_graph": "found a fault in the program's graph",
    "bad_program_schema": "found a fault in the program's description",
    "data_mismatch": "had data that does not fit the program",
    "op_not_allowed": "refused the program, for an operation that may not run on devices",
    "out_of_memory": "ran out of memory",
    "program_failed": "could not run the program",
    "simulation_failed": "failed in the simulation of a fleet",
    "task_failed": "failed in training",
    "task_too_large": "got settings that are too large",
    "trainer_crashed": "lost the process that trained",
    "trainer_failed": "could not train",
    "trainer_timeout": "took too long in training",
    "training_diverged": "trained until a number was no longer finite",
    "training_failed": "failed in training",  # an older word for it
    # With their update.
    "bad_dtype": _NO_FILE,
    "bad_entry": _NO_FILE,
    "bad_index": "made an update whose sparse entries point outside it",
    "bad_name": _NO_FILE,
    "bad_offsets": _NO_FILE,
    "bad_report": "reported a weight or metrics out of range",
    "bad_shape": _NO_FILE,
    "credit_exceeded": "sent faster than asked to",
    "duplicate_tensor": _NO_FILE,
    "header_too_large": _NO_FILE,
    "leaf_lost": "reported to a leaf that was lost",
    "name_taken": "had a tensor by a name that the codec needs",
    "norm_exceeded": "made an update that moves the model further than the job allows",
    "not_finite": "made an update with numbers that are not finite",
    "not_safetensors": _NO_FILE,
    "offset_mismatch": "sent their update out of order",
    "out_of_range": "made an update that the job's codec cannot hold",
    "stale_assignment": _TOO_LATE,
    "assignment_over": _TOO_LATE,
    "round_closed": _TOO_LATE,
    "storage_failed": _STORAGE,
    "storage_full": _STORAGE,
    "tensor_mismatch": "made an update of other tensors than the model's",
    "too_large_value": "made an update with numbers that are too large",
    "too_many_tensors": _NO_FILE,
    "too_stale": "began from a version that is too old by now",
    "trailing_bytes": _NO_FILE,
    "unknown_codec": "did not know the job's codec",
    "update_too_large": "made an update of more bytes than the job allows",
    "upload_busy": "sent the same update twice at once",
}


def declined(code: str) -> str:
    """Say why devices refuse, by the code that they gave."""
    if code in DECLINED:
        return DECLINED[code]
    if not code.startswith("dataset."):
        return "their own reason"
    _, _, facet = code.removeprefix("dataset.").partition(".")
    return FACETS.get(facet, "their data set lacks what the job needs")


def failed(code: str) -> str:
    """Say how devices failed, by the code that they gave; one that is not known is quoted."""
    return FAILED.get(code) or (f"failed ({code})" if code else "failed")
