"""Training on the device: a program or a handler, run in a capped child process.

``config`` and ``result`` are plain types; ``pool`` starts the children; ``torch_trainer`` is the
only module here that imports torch, and only children import it.
"""
