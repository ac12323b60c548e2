"""Features of images by a classifier that is trained on the spot: no network is downloaded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..families.randomness import seeded
from ..families.variable import whole
from ..graph import GraphError

__all__ = ["Features", "train_features"]


class Features(nn.Module):
    """Images `(rows, channels, height, width)` to features `(rows, width)`; `accuracy` is that of the classifier on rows it was not trained on."""

    def __init__(self, channels: int, classes: int, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width // 2, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(width // 2, width, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, width), nn.GELU(),
        )
        self.head = nn.Linear(width, classes)
        self.accuracy = float("nan")

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([self.body(piece) for piece in self._pieces(images)])

    def _pieces(self, images: Tensor) -> tuple[Tensor, ...]:
        channels = self.body[0].in_channels
        if images.ndim != 4 or images.shape[1] != channels:
            raise GraphError(f"features: expected images (rows, {channels}, height, width), as those of training; got {tuple(images.shape)}")
        return images.to(self.head.weight).split(512)

    def classify(self, images: Tensor) -> Tensor:
        """The class of each image."""
        with torch.no_grad():
            return torch.cat([self.head(self.body(piece)).argmax(1) for piece in self._pieces(images)])


def train_features(images: Tensor, labels: Tensor, *, width: int = 64, epochs: int = 5, batch_size: int = 128, lr: float = 2e-3, seed: int = 0) -> Features:
    """A small convolutional classifier of labelled images, whose last hidden layer gives features for Fréchet and kernel distances.

    A tenth of the rows is held out for its accuracy. Distances by one such network compare with each other, not with published ones.

    Example:
        >>> images, labels = torch.rand(64, 1, 8, 8), torch.arange(64) % 2
        >>> features = train_features(images, labels, width=8, epochs=1)
        >>> features(images).shape
        torch.Size([64, 8])
    """
    for name, value, least in (("width", width, 2), ("epochs", epochs, 1), ("batch_size", batch_size, 1)):
        if (whole(value) or 0) < least:
            raise GraphError(f"train_features: expected {name} to be a whole number from {least}; got {value!r}")
    images, labels = torch.as_tensor(images), torch.as_tensor(labels, device=getattr(images, "device", None))
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise GraphError(f"train_features: expected images (rows, channels, height, width) and a label a row; got {tuple(images.shape)} and {tuple(labels.shape)}")
    if not bool(images.isfinite().all()):
        raise GraphError("train_features: expected finite images; got NaN or infinity; leave those rows out knowingly")
    if bool((labels != labels.long()).any()) or len(labels) < 2 or int(labels.min()) < 0 or int(labels.max()) == 0:
        raise GraphError(f"train_features: expected labels 0, 1, ... of two classes at least; got {labels.unique()[:5].tolist()} in {len(labels)} rows; try torch.unique(labels, return_inverse=True)[1]")
    with seeded(seed, images.device):
        labels = labels.long()
        model = Features(images.shape[1], int(labels.max()) + 1, width).to(images.device)
        order = torch.randperm(len(images)).to(images.device)
        held, kept = order[: max(1, len(order) // 10)], order[max(1, len(order) // 10):]
        optimizer = torch.optim.Adam(model.parameters(), lr)
        steps = epochs * -(-len(kept) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2))
        for _ in range(epochs):
            for chosen in kept[torch.randperm(len(kept)).to(kept.device)].split(batch_size):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model.head(model.body(images[chosen].to(model.head.weight))), labels[chosen]).backward()
                optimizer.step()
                schedule.step()
    model.eval()
    model.accuracy = float((model.classify(images[held]) == labels[held]).float().mean())
    return model
