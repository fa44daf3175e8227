"""Networks that benchmarks and tests export: written here, since no model zoo is installed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """The basic block of a residual network: two convolutions and a way around them."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.around = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, x: Tensor) -> Tensor:
        inside = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        inside += self.around(x)
        out: Tensor = self.relu(inside)
        return out


class ResNet18(nn.Module):
    """He et al., *Deep Residual Learning for Image Recognition*, table 1 (arXiv 1512.03385)."""

    def __init__(self, classes: int = 10, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks, inner = [], width
        for outer, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
            blocks += [Block(inner, outer, stride), Block(outer, outer, 1)]
            inner = outer
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inner, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))
        return out


class Lstm(nn.Module):
    """Which class a row of tokens is of: two layers with dropout between them."""

    def __init__(self, tokens: int = 50, classes: int = 5) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, 16)
        self.lstm = nn.LSTM(16, 24, 2, batch_first=True, dropout=0.2)
        self.out = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(self.embed(x))
        out: Tensor = self.out(states[:, -1])
        return out


class Transformer(nn.Module):
    """Predicts each next token: two causal layers with dropout."""

    def __init__(self, tokens: int = 50, length: int = 12) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, 32)
        self.places = nn.Parameter(torch.zeros(length, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(32, tokens)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(len(self.places))
        states = self.layers(self.embed(x) + self.places, mask=mask, is_causal=True)
        out: Tensor = self.out(states)
        return out


class Lora(nn.Module):
    """A frozen layer and what is learnt beside it (Hu et al., arXiv 2106.09685)."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(0.1 * torch.randn(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + x @ self.lora_a.T @ self.lora_b.T
        return out


def tokens_loss(predictions: Tensor, target: Tensor) -> Tensor:
    """Cross entropy over the tokens of a batch."""
    return nn.functional.cross_entropy(predictions.flatten(0, 1), target.flatten())
