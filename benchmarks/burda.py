"""Burda's one-layer autoencoder, 784-200-200-50 with tanh, hand-written in torch: what the library is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist import binarize

__all__ = ["Autoencoder", "train"]

LATENT, WIDTH, PIXELS = 50, 200, 784


class Autoencoder(nn.Module):
    """p(z) = N(0, I), p(x | z) Bernoulli, q(z | x) Gaussian with a diagonal covariance."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = perceptron(PIXELS, 2 * LATENT)
        self.decoder = perceptron(LATENT, PIXELS)

    def loss(self, x: Tensor, samples: int) -> Tensor:
        """The negative ELBO with its closed-form KL for one sample, else the negative IWAE bound; mean a row, nats."""
        if samples > 1:
            return math.log(samples) - self.log_weights(x, samples).logsumexp(0).mean()
        x = x.flatten(1)
        loc, log_scale = self.encoder(x).chunk(2, dim=-1)
        scale = log_scale.exp()
        logits = self.decoder(loc + scale * torch.randn_like(loc))
        kl = (0.5 * (loc.square() + scale.square() - 1) - log_scale).sum()
        return (F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl) / len(x)

    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """log p(x, z) - log q(z | x) at draws from q, `(samples, rows)`."""
        x = x.flatten(1)
        loc, log_scale = self.encoder(x).chunk(2, dim=-1)
        noise = torch.randn(samples, *loc.shape)
        z = loc + log_scale.exp() * noise
        logits = self.decoder(z)
        likelihood = (x * logits - F.softplus(logits)).sum(-1)
        return likelihood + (0.5 * (noise.square() - z.square()) + log_scale).sum(-1)


def perceptron(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, outputs)
    )


def train(
    model: Autoencoder, intensities: Tensor, *, samples: int, epochs: int, batch_size: int, lr: float,
    after_epoch: Callable[[int], object],
) -> None:
    """Fused Adam, the learning rate falling to zero along a cosine, pixels drawn anew for every minibatch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    steps = epochs * math.ceil(len(intensities) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        for rows in torch.randperm(len(intensities)).split(batch_size):
            loss = model.loss(binarize(intensities[rows]), samples)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        after_epoch(epoch + 1)
