"""The edge agent: what runs on a device.

``session`` is the brain, a synchronous state machine without network, clock or disk; ``agent`` is
its body. ``host`` runs many agents in one process. Nothing here imports torch.
"""
