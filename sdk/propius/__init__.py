"""Propius SDK: the edge agent, the job client and the formats they share.

Light to import: the names below load their modules at first use, and nothing here loads torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from propius.agent.agent import Agent as Agent
    from propius.app import App as App
    from propius.client import Client as Client
    from propius.http_errors import ApiError as ApiError
    from propius.plain import close as close
    from propius.plain import init as init
    from propius.plain import may_go_on as may_go_on
    from propius.plain import receive as receive
    from propius.plain import send as send
    from propius.training.result import Result as Result

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "ApiError",
    "App",
    "Client",
    "Result",
    "__version__",
    "close",
    "init",
    "may_go_on",
    "receive",
    "send",
]

_HOMES = {
    "Agent": "propius.agent.agent",
    "ApiError": "propius.http_errors",
    "App": "propius.app",
    "Client": "propius.client",
    "close": "propius.plain",
    "init": "propius.plain",
    "may_go_on": "propius.plain",
    "receive": "propius.plain",
    "send": "propius.plain",
    "Result": "propius.training.result",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'propius' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
