"""Every write to jobs, rounds, assignments and artifacts."""

from jobs.services.artifacts import (
    ArtifactUnknown,
    forget_unstarted,
    register_artifact,
    settle_artifact,
)
from jobs.services.assignments import (
    AlreadyReported,
    AssignmentOver,
    Reported,
    RoundClosed,
    StaleAssignment,
    give_back,
    is_shut_out,
    raise_over,
    report,
)
from jobs.services.binding import Binding, Exchanged, Return, Window, assign, exchange
from jobs.services.buffers import TooStale
from jobs.services.clocks import shift_open
from jobs.services.drafting import SpecInvalid, conditions, draft
from jobs.services.driven import (
    BadDemand,
    NotDriven,
    RoundUnderWay,
    RoundUnknown,
    WrongNumber,
    finish,
    require_driven,
    start_round,
)
from jobs.services.driven import complete as complete_driven
from jobs.services.forgetting import forget_assignments
from jobs.services.handover import count_held, lose_held
from jobs.services.holding import uphold
from jobs.services.leases import Progress, accept, accept_many, extend_leases, renew
from jobs.services.leaves import acknowledge, waited_enough, wants_held
from jobs.services.lifecycle import (
    JobUnknown,
    WrongState,
    admit,
    cancel,
    grant_demand,
    hold,
    pause,
    reject,
    resume,
)
from jobs.services.maintenance import (
    MaintenanceInvalid,
    revert_maintenance,
    set_maintenance,
)
from jobs.services.opening import evaluation_quorum, over_selected
from jobs.services.quarantines import (
    QuarantineInvalid,
    again,
    lift,
    put_in_quarantine,
)
from jobs.services.reporting import Report, report_many
from jobs.services.revocations import withdraw
from jobs.services.rounds import (
    RoundOver,
    complete_round,
    fail_round,
    lock_to_finish,
    locked_aggregating,
)
from jobs.services.setting_aside import set_aside
from jobs.services.submission import (
    ParametersMismatch,
    UnknownArtifact,
    clone,
    mismatches,
    submit,
    uploads,
)
from jobs.services.sweep import sweep

__all__ = [
    "AlreadyReported",
    "ArtifactUnknown",
    "AssignmentOver",
    "BadDemand",
    "Binding",
    "Exchanged",
    "JobUnknown",
    "MaintenanceInvalid",
    "NotDriven",
    "ParametersMismatch",
    "Progress",
    "QuarantineInvalid",
    "Report",
    "Reported",
    "Return",
    "RoundClosed",
    "RoundOver",
    "RoundUnderWay",
    "RoundUnknown",
    "SpecInvalid",
    "StaleAssignment",
    "TooStale",
    "UnknownArtifact",
    "Window",
    "WrongNumber",
    "WrongState",
    "accept",
    "accept_many",
    "acknowledge",
    "admit",
    "again",
    "assign",
    "cancel",
    "clone",
    "complete_driven",
    "complete_round",
    "conditions",
    "count_held",
    "draft",
    "evaluation_quorum",
    "exchange",
    "extend_leases",
    "fail_round",
    "finish",
    "forget_assignments",
    "forget_unstarted",
    "give_back",
    "grant_demand",
    "hold",
    "is_shut_out",
    "lift",
    "lock_to_finish",
    "locked_aggregating",
    "lose_held",
    "mismatches",
    "over_selected",
    "pause",
    "put_in_quarantine",
    "raise_over",
    "register_artifact",
    "reject",
    "renew",
    "report",
    "report_many",
    "require_driven",
    "resume",
    "revert_maintenance",
    "set_aside",
    "set_maintenance",
    "settle_artifact",
    "shift_open",
    "start_round",
    "submit",
    "sweep",
    "uphold",
    "uploads",
    "waited_enough",
    "wants_held",
    "withdraw",
]
