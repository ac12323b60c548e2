"""Small objectives for the tests of training, written by hand against the protocol of `dgm_ppl.objectives.base`."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgm_ppl.objectives.base import Objective, Player


class Toy(Objective):
    """What the toys share: columns become floats, rows of the global batch decide the noise."""

    names = ("x",)

    def __init__(self):
        super().__init__()
        self._shard = None

    def prepare(self, data):
        missing = [name for name in self.names if name not in data]
        if missing:
            raise ValueError(f"column {missing[0]!r}: expected in the data; got {', '.join(data)}; try adding it")
        dtype = next(self.parameters(), torch.zeros(())).dtype
        return {name: torch.as_tensor(data[name]).to(dtype) for name in self.names}

    def declaration(self):
        return {"objective": type(self).__name__, "shapes": {n: list(p.shape) for n, p in self.named_parameters()}}

    def shard(self, offset, total):
        self._shard = (offset, total)

    def noise_like(self, local: Tensor) -> Tensor:
        if self._shard is None:
            return torch.randn_like(local)
        offset, total = self._shard
        return torch.randn(total, *local.shape[1:], dtype=local.dtype, device=local.device)[offset : offset + len(local)]


class Regression(Toy):
    """y | x ~ Normal(w x + b, 1), by maximum likelihood."""

    names = ("x", "y")

    def __init__(self, features: int = 3):
        super().__init__()
        self.model = nn.Linear(features, 1)
        nn.init.zeros_(self.model.weight)
        nn.init.zeros_(self.model.bias)

    def world_losses(self, batch):
        return 0.5 * (self.model(batch["x"]).squeeze(-1) - batch["y"]).square() + 0.5 * math.log(2 * math.pi)


class VAE(Toy):
    """A Bernoulli VAE with its mean-field ELBO, and a running baseline in a buffer."""

    def __init__(self, width: int = 8, hidden: int = 16, latent: int = 2, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.guide = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent))
            self.model = nn.Sequential(nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, width))
        self.register_buffer("baseline", torch.zeros(()))

    def world_losses(self, batch):
        mean, log_scale = self.guide(batch["x"]).chunk(2, -1)
        z = mean + log_scale.exp() * self.noise_like(mean)
        kl = 0.5 * (mean.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(-1)
        losses = kl + F.binary_cross_entropy_with_logits(self.model(z), batch["x"], reduction="none").sum(-1)
        if self.training:
            self.baseline.mul_(0.9).add_(losses.detach().mean(), alpha=0.1)
        return losses


class Adversaries(Toy):
    """A location generator against a linear critic: two players with a loss each."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Parameter(torch.zeros(2))
        self.critic = nn.Linear(2, 1)
        nn.init.constant_(self.critic.weight, 0.1)
        nn.init.zeros_(self.critic.bias)

    def world_losses(self, batch):
        return self.critic(batch["x"]).squeeze(-1)

    def _generate(self, batch):
        return self.generator + self.noise_like(batch["x"])

    def _generator_loss(self, batch):
        return -self.critic(self._generate(batch)).mean()

    def _critic_loss(self, batch):
        gap = self.critic(self._generate(batch)).mean() - self.critic(batch["x"]).mean()
        return gap + self.critic.weight.square().sum()

    @property
    def players(self):
        return (
            Player("generator", (self.generator,), self._generator_loss),
            Player("critic", tuple(self.critic.parameters()), self._critic_loss),
        )


def regression_data(rows: int = 64, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, generator=generator)
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3 + 0.1 * torch.randn(rows, generator=generator)
    return {"x": x, "y": y}


def binary_data(rows: int = 50, width: int = 8, seed: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"x": (torch.rand(rows, width, generator=generator) < 0.3).float()}
