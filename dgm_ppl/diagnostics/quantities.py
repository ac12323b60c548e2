"""What is ranked: each latent by itself, and quantities that depend on the data as well. Values carry `(draws, *worlds)` in front."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from ..compile import Model

__all__ = ["Densities", "Marginal", "cells_of", "marginals_of"]

SEPARATE = 8


class Densities:
    """Log-densities of whole worlds: that of the data given the latents, the joint one, and the guide's of the latents; those that the nets have.

    Ranks of single latents are uniform too for a guide that ignores the data; those of these are not.

    Source: Modrak et al. (2023), https://arxiv.org/abs/2211.02383.
    """

    def __init__(self, model: Model, guide: Model, observed: tuple[str, ...]):
        self.model, self.guide, self.observed = model, guide, observed
        self.scored = all(model.conditionals[name].density is not None for name in model.random)
        latents = [name for name in guide.random if name not in observed]
        self.guided = bool(latents) and all(guide.conditionals[name].density is not None for name in latents)

    @property
    def missing(self) -> tuple[str, ...]:
        """What has no density, in words."""
        return tuple(which for which, had in (("the model", self.scored), ("the guide", self.guided)) if not had)

    def __call__(self, values: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """`(draws, worlds)` each, of aligned values."""
        found = {}
        if self.scored:
            terms = self.model.log_densities(values, sizes)
            found["log p(data | latents)"] = sum(terms[name] for name in self.observed if name in terms)
            found["log p(data, latents)"] = sum(terms.values())
        if self.guided:
            own = {name: value for name, value in values.items() if name in self.guide.layout.members}
            terms = self.guide.log_densities(own, sizes)
            found["log q(latents | data)"] = sum(term for name, term in terms.items() if name not in self.observed)
        return {label: value.nan_to_num(nan=-torch.inf, neginf=-torch.inf) for label, value in found.items()}     # a draw on which the model fails has no density


class Marginal:
    """A number read off one latent: an element, or one chosen for each world, or the mean of all."""

    def __init__(self, model: Model, node: str, label: str, read: Callable[[Tensor], Tensor]):
        self.model, self.node, self.label, self.read = model, node, label, read

    def __call__(self, values: Mapping[str, Tensor], rows: slice) -> Tensor:
        """`(draws, worlds)`."""
        return self.read(cells_of(self.model, self.node, values[self.node]), rows)


def marginals_of(model: Model, shapes: Mapping[str, tuple[int, int]], latents: tuple[str, ...], generator: torch.Generator) -> Iterator[Marginal]:
    """For each latent, with `(worlds, cells)` in `shapes`: its elements, or where they are many or in a plate one drawn at random in each world; and their mean."""
    for name in latents:
        worlds, cells = shapes[name]
        if cells == 1:
            yield Marginal(model, name, name, lambda value, rows: value[..., 0])
            continue
        if not model.layout.members[name] and cells <= SEPARATE:
            for element in range(cells):
                yield Marginal(model, name, f"{name}[{element}]", lambda value, rows, element=element: value[..., element])
        else:
            chosen = torch.randint(cells, (worlds,), generator=generator, device="cpu")
            yield Marginal(model, name, f"{name}[random]", lambda value, rows, chosen=chosen: _chosen(value, chosen[rows]))
        if model.net[name].space.cardinality is None or not model.net[name].space.integer:
            yield Marginal(model, name, f"mean({name})", lambda value, rows: value.double().mean(-1))


def cells_of(model: Model, name: str, value: Tensor) -> Tensor:
    """A value in the user's layout with its plates and event as one dimension, `(..., cells)`."""
    inner = len(model.layout.members[name]) + len(model.layout.events[name])
    return value.flatten(value.ndim - inner) if inner else value.unsqueeze(-1)


def _chosen(cells: Tensor, chosen: Tensor) -> Tensor:
    chosen = chosen.to(cells.device)
    return cells.gather(-1, chosen.expand(cells.shape[:-1]).unsqueeze(-1)).squeeze(-1)
