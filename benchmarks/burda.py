"""Burda's one-layer autoencoder, 784-200-200-50 with tanh: its networks, and the whole thing hand-written in torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from mnist import binarize

__all__ = ["Autoencoder", "Centre", "decoder", "encoder", "train"]

LATENT, WIDTH, PIXELS = 50, 200, 784


class Centre(nn.Module):
    """Pixels less their mean over the training set."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels - self.mean


def encoder(mean: Tensor) -> nn.Sequential:
    """Flat pixels to the location and the logarithm of the scale of z."""
    return nn.Sequential(Centre(mean), *perceptron(PIXELS, 2 * LATENT))


def decoder(mean: Tensor) -> nn.Sequential:
    """z to the logits of the pixels; at first each pixel has its mean as probability."""
    network = perceptron(LATENT, PIXELS)
    with torch.no_grad():
        network[-1].bias.copy_(mean.clamp(1e-3, 1 - 1e-3).logit())
    return network


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    """Two tanh layers with Glorot's weights."""
    layers = [nn.Linear(inputs, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, outputs)]
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])


class Autoencoder(nn.Module):
    """p(z) = N(0, I), p(x | z) Bernoulli, q(z | x) Gaussian with a diagonal covariance."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder(mean), decoder(mean)

    def elbo_loss(self, x: Tensor, samples: int) -> Tensor:
        """The negative ELBO, its KL in closed form; mean a row, in nats."""
        x = x.flatten(1)
        loc, log_scale = self.encoder(x).chunk(2, dim=-1)
        scale = log_scale.exp()
        logits = self.decoder(loc + scale * torch.randn(samples, *loc.shape))
        pixels = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="sum") / samples
        kl = (0.5 * (loc.square() + scale.square() - 1) - log_scale).sum()
        return (pixels + kl) / len(x)

    def iwae_loss(self, x: Tensor, samples: int) -> Tensor:
        """The negative importance-weighted bound; mean a row, in nats."""
        return math.log(samples) - self.log_weights(x, samples).logsumexp(0).mean()

    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """log p(x, z) - log q(z | x) at draws from q, `(samples, rows)`."""
        x = x.flatten(1)
        loc, log_scale = self.encoder(x).chunk(2, dim=-1)
        noise = torch.randn(samples, *loc.shape)
        z = loc + log_scale.exp() * noise
        logits = self.decoder(z)
        likelihood = (x * logits - F.softplus(logits)).sum(-1)
        return likelihood + (0.5 * (noise.square() - z.square()) + log_scale).sum(-1)


def train(
    parameters: list[nn.Parameter], loss: Callable[[Tensor], Tensor], intensities: Tensor,
    *, epochs: int, batch_size: int, lr: float, after_epoch: Callable[[int], object],
) -> None:
    """Fused Adam, the learning rate falling to zero along a cosine, pixels drawn anew for every minibatch."""
    optimizer = torch.optim.Adam(parameters, lr=lr, fused=True)
    schedule = CosineAnnealingLR(optimizer, epochs * math.ceil(len(intensities) / batch_size))
    for epoch in range(epochs):
        for rows in torch.randperm(len(intensities)).split(batch_size):
            optimizer.zero_grad()
            loss(binarize(intensities[rows])).backward()
            optimizer.step()
            schedule.step()
        after_epoch(epoch + 1)
