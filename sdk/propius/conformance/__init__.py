"""Tries any client of the device protocol against a scripted gateway; needs no platform.

:mod:`propius.conformance.runner` starts the client once a case; the cases are in
:mod:`propius.conformance.sockets` and :mod:`propius.conformance.visits`.
"""
