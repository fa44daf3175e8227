"""Everything that docs/first-job.md needs beside the platform: devices' files, a program, a test.

    python digits.py make                      # in an empty folder
    python digits.py test model.safetensors    # accuracy on examples that no device has

``make`` deals scikit-learn's digits to eight devices, writes the owner's files into a folder for
each, and exports a small network to ``digits.program`` and ``digits.safetensors``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import nn

from propius.program import export

DEVICES = 8
TESTS = 297
SEED = 1


def network() -> nn.Module:
    """Return the network with its first parameters: 64 pixels → 10 classes."""
    torch.manual_seed(SEED)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def make() -> None:
    """Write the devices' folders, the fleet file, the program, its parameters and the test set."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(labels))
    x = (pixels[order] / 16).astype(np.float32)
    y = labels[order].astype(np.int64)
    np.savez("test.npz", x=x[:TESTS], y=y[:TESTS])

    fleet = ["trainers = 1", ""]
    for number, mine in enumerate(np.array_split(np.arange(TESTS, len(y)), DEVICES)):
        home = Path("devices") / f"{number}"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        train, validate = mine[:-30], mine[-30:]
        np.savez(
            home / "digits.npz",
            x_train=x[train], y_train=y[train], x_val=x[validate], y_val=y[validate],
        )  # fmt: skip
        (home / "datasets.toml").write_text('[digits]\npath = "digits.npz"\n')
        (home / "consent.toml").write_text(
            '[tenants.acme]\nkinds = ["program"]\ndatasets = ["digits"]\n\n'
            "[pool]  # the pool's other tenants\nkinds = []\n"
        )
        fleet += ["[[devices]]", f'home = "{home}"', ""]
    Path("fleet.toml").write_text("\n".join(fleet))

    batch = torch.zeros(4, 64), torch.zeros(4, dtype=torch.int64)
    made = export(network(), nn.functional.cross_entropy, batch)
    Path("digits.program").write_bytes(made.program)
    Path("digits.safetensors").write_bytes(made.parameters)
    print("wrote devices/, fleet.toml, digits.program, digits.safetensors, test.npz")


def test(model: Path) -> None:
    """Print a downloaded model's accuracy."""
    module = network()
    module.load_state_dict(load_file(model))
    with np.load("test.npz") as held, torch.no_grad():
        guesses = module(torch.from_numpy(held["x"])).argmax(dim=1).numpy()
        print(f"accuracy {np.mean(guesses == held['y']):.3f}")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make", help="write everything into this folder")
    commands.add_parser("test", help="measure a downloaded model").add_argument("model", type=Path)
    given = parser.parse_args()
    if given.command == "make":
        make()
    else:
        test(given.model)


if __name__ == "__main__":
    main()
