"""What is known of a metric by its name: its unit, and whether more of it is better. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from frontend.asked import HIGHEST, LOWEST

FIRST = ("accuracy", "loss")
"""Shown first, and without being asked for."""
_SHARES = ("accuracy", "precision", "recall", "specificity", "sensitivity")
_MORE = {
    *_SHARES, "auc", "auroc", "f1", "r2", "map", "iou", "miou", "dice", "bleu", "rouge", "psnr",
    "ssim", "top1", "top5", "score", "correct",
}  # fmt: skip
_LESS = {
    "loss", "error", "err", "perplexity", "ppl", "mae", "mse", "rmse", "nll", "wer", "cer",
    "entropy", "divergence", "kl", "bpb", "bpc", "seconds", "latency",
}  # fmt: skip
_UNITS = {
    "s": "s", "ms": "ms", "bytes": "bytes", "mb": "MB", "percent": "%", "j": "J", "celsius": "°C",
}  # fmt: skip


def ordered(names: Iterable[str]) -> list[str]:
    """Return names as they are listed: accuracy and loss first, then by the alphabet."""
    return sorted(names, key=lambda name: (name not in FIRST, name))


def direction(name: str) -> str:
    """Return whether the highest or the lowest is the best; empty if the name does not say."""
    words = _words(name)
    if words & _LESS:
        return LOWEST
    return HIGHEST if words & _MORE else ""


def is_share(name: str) -> bool:
    """Tell whether a metric is a share from 0 to 1, written in hundredths."""
    return name in _SHARES


def title(name: str) -> str:
    """Return a metric as a heading: as it was reported, for it is its reporter's word."""
    return name.capitalize() if name in FIRST else name


def axis(name: str) -> str:
    """Return what its axis counts."""
    if is_share(name):
        return "Share correct (%)" if name == "accuracy" else f"{name.capitalize()} (%)"
    if name == "loss":
        return "Mean loss"
    last = name.lower().rsplit("_", 1)[-1]
    unit = _UNITS.get(last) if "_" in name else None
    return f"{name} ({unit})" if unit else f"{name}, as reported"


def written(name: str, value: float) -> str:
    """Return a value to the places that matter."""
    if is_share(name):
        return f"{100 * value:.1f}\u202f%"
    return f"{value:.3f}" if 0.01 <= abs(value) < 100 or value == 0 else f"{value:.3g}"


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.lower()))
