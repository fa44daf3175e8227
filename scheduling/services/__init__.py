"""Every write of the control plane: plans, the policy, shares, quotas, and what time brings."""

from scheduling.services.drains import DrainInvalid, drain_gateway
from scheduling.services.plans import OUTAGE_S, QUEUED_S, plan, sweep
from scheduling.services.quotas import QuotaInvalid, revert_quota, set_quota
from scheduling.services.sharing import (
    PolicyInvalid,
    ShareInvalid,
    apply_proposal,
    revert_policy,
    revert_share,
    set_policy,
    set_share,
)

__all__ = [
    "OUTAGE_S",
    "QUEUED_S",
    "DrainInvalid",
    "PolicyInvalid",
    "QuotaInvalid",
    "ShareInvalid",
    "apply_proposal",
    "drain_gateway",
    "plan",
    "revert_policy",
    "revert_quota",
    "revert_share",
    "set_policy",
    "set_quota",
    "set_share",
    "sweep",
]
