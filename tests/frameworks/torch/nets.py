"""Nets to leave layers out of; made with `torch.nn` alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class CNN(nn.Module):  # type: ignore[misc]
    """With batch normalization and a classifier behind a flatten."""

    def __init__(self, keeps_rows: bool = True) -> None:
        super().__init__()
        self.keeps_rows = keeps_rows
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 12, 3, padding=1)
        self.pool2 = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.2)
        self.fc1 = nn.Linear(48, 24)
        self.fc2 = nn.Linear(24, 10)

    def forward(self, x: Any) -> Any:
        x = self.pool1(self.relu(self.bn1(self.conv1(x))))
        x = self.pool2(torch.relu(self.conv2(x)))
        x = x.flatten(1) if self.keeps_rows else x.view(-1, 48)
        return self.fc2(torch.relu(self.fc1(self.drop(x))))


class Block(nn.Module):  # type: ignore[misc]
    """A residual block, of torchvision's form: its sum is made in place."""

    def __init__(self, ins: int, outs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outs)
        self.shortcut = None
        if stride != 1 or ins != outs:
            self.shortcut = nn.Sequential(nn.Conv2d(ins, outs, 1, stride), nn.BatchNorm2d(outs))

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.shortcut is None else self.shortcut(x)
        return self.relu(y)


class ResNet(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layer1 = nn.Sequential(Block(8, 8), Block(8, 8))
        self.layer2 = nn.Sequential(Block(8, 16, 2), Block(16, 16))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        x = self.layer2(self.layer1(self.stem(x)))
        return self.head(torch.flatten(self.pool(x), 1))


def double(ins: int, outs: int) -> Any:
    return nn.Sequential(
        nn.Conv2d(ins, outs, 3, padding=1),
        nn.GroupNorm(2, outs),
        nn.GELU(),
    )


class UNet(nn.Module):  # type: ignore[misc]
    """Skip connections are concatenated, from lists of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([double(1, 4), double(4, 8)])
        self.pool = nn.MaxPool2d(2)
        self.middle = double(8, 16)
        self.up = nn.ModuleList([nn.ConvTranspose2d(16, 8, 2, 2), nn.ConvTranspose2d(8, 4, 2, 2)])
        self.merge = nn.ModuleList([double(16, 8), double(8, 4)])
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = self.pool(x)
        x = self.middle(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return self.out(x)


class Transformer(nn.Module):  # type: ignore[misc]
    """PyTorch's own encoder, with positions and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8, padding_idx=0)
        self.position = nn.Parameter(torch.randn(1, 6, 8) * 0.02)
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, words: Any) -> Any:
        x = self.embed(words) + self.position[:, : words.shape[1]]
        x = self.encoder(x, src_key_padding_mask=words == 0)
        return self.head(self.norm(x).mean(1))


class LSTM(nn.Module):  # type: ignore[misc]
    """Uses all the outputs of one, and the state of another."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.drop = nn.Dropout(0.1)
        self.encode = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.squeeze = nn.Linear(10, 7)
        self.decode = nn.GRU(7, 4, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, words: Any) -> Any:
        x, _ = self.encode(self.drop(self.embed(words)))
        _, state = self.decode(torch.tanh(self.squeeze(x)))
        return self.out(state[-1])


class MixerBlock(nn.Module):  # type: ignore[misc]
    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(patches, 9), nn.GELU(), nn.Linear(9, patches))
        self.norm2 = nn.LayerNorm(width)
        self.channels = nn.Sequential(nn.Linear(width, 11), nn.GELU(), nn.Linear(11, width))

    def forward(self, x: Any) -> Any:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 7, 4, 4)
        self.blocks = nn.Sequential(MixerBlock(4, 7), MixerBlock(4, 7))
        self.head = nn.Linear(7, 4)

    def forward(self, x: Any) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.blocks(x).mean(1))


class Routed(nn.Module):  # type: ignore[misc]
    """Goes another way by what it gets, which no tracer can follow; calls a layer twice; ties weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.experts = nn.ModuleDict({"low": nn.Linear(8, 8), "high": nn.Linear(8, 8)})
        self.twice = nn.Linear(8, 8)
        self.scale = nn.Linear(8, 1)
        self.down = nn.Linear(8, 6)
        self.up = nn.Linear(6, 8)
        self.up.weight = nn.Parameter(self.down.weight.detach().t().clone())
        self.tied = nn.Linear(6, 8, bias=False)
        self.tied.weight = self.first.weight
        self.idle = nn.Linear(8, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Any) -> Any:
        y = torch.relu(self.first(x))
        for _ in range(1 + int(float(x.detach().mean()) > 0)):
            y = self.experts["high" if float(y.detach().mean()) > 0.3 else "low"](y)
        y = self.twice(torch.relu(self.twice(y))) * torch.sigmoid(self.scale(y))
        return self.out(y + self.up(self.down(y)) + self.tied(x))


class MLP(nn.Sequential):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(
            nn.Linear(6, 16),
            nn.ReLU(),
            nn.BatchNorm1d(16),
            nn.Dropout(0.1),
            nn.Linear(16, 16),
            nn.ReLU(),
            nn.ReLU(),
            nn.Identity(),
            nn.Linear(16, 3),
        )


def images(*shape: int) -> Any:
    return torch.rand(8, *shape, generator=torch.Generator().manual_seed(0))


def words() -> Any:
    return torch.randint(1, 20, (8, 6), generator=torch.Generator().manual_seed(0))


#: The nets, and what they are called on.
NETS: dict[str, tuple[Any, Any]] = {
    "mlp": (MLP, images(6)),
    "cnn": (CNN, images(1, 8, 8)),
    "resnet": (ResNet, images(3, 8, 8)),
    "unet": (UNet, images(1, 8, 8)),
    "transformer": (Transformer, words()),
    "lstm": (LSTM, words()),
    "mixer": (Mixer, images(3, 8, 8)),
    "routed": (Routed, images(6)),
}
