"""The data plane over HTTP: parameters down, updates up, opened by the signed ticket alone.

Raw ASGI, because Django's handler holds or spools whole bodies; here they pass in pieces.
"""

from aggregation.transfer.plane import DataPlane

__all__ = ["DataPlane"]
