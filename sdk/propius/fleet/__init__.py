"""Thousands of virtual devices in one process, against a real server.

Each is the agent's own session over the agent's own websocket; only its clock, its trainer and the
conditions it lives under are made up. :mod:`propius.fleet.simulation` runs them.
"""
