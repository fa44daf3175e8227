"""A leaf: a small process near devices that caches, takes updates, folds and hands over sums.

No Postgres and no Redis; what it may lose is in files. ``docs/leaves.md`` tells how to run one.
"""
