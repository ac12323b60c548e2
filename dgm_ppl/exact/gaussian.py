"""Gaussian nodes integrated out in closed form, for every configuration of the finite ones and every row at once.

Each density that reads the hidden coordinates h is a sum of squares |r + J h|^2 / 2 after division by its scale. With the precision L = sum J J' and the mean m
that makes the sum smallest, the integral over h is exp(-|r + J m|^2 / 2) (2 pi)^(n/2) det(L)^(-1/2). Residuals are taken at the mean, and sums in double precision, so that
nothing cancels when single precision evidence is sharp. Deterministic nodes are substituted, so a degenerate joint never has to be inverted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..conditionals import Parametric
from ..families import MultivariateNormal, Normal
from ..families.shapes import broadcast
from ..graph import GraphError
from .plated import add
from .scene import Scene, padded
from .structure import Block

__all__ = ["Integral", "integrate"]

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Term:
    """A density as a sum of squares: `jacobian` `(*batch, coordinates, rows)`, `residual` `(*batch, rows)`, and the logarithm of its constant `(*batch)`."""

    jacobian: Tensor
    residual: Tensor
    log_constant: Tensor


@dataclass(frozen=True, eq=False)
class Integral:
    """The integral over a block, and the Gaussian that was integrated: mean `(*batch, coordinates)` and the Cholesky factor of its precision.

    `free` is one for coordinates that are hidden and zero for those that are seen; None where all are hidden. `places` says where a node's coordinates are.
    """

    log_value: Tensor
    mean: Tensor
    factor: Tensor
    free: Tensor | None
    places: dict[str, slice] = field(repr=False)

    def covariance(self) -> Tensor:
        """The covariance, zero for coordinates that are seen, `(*batch, coordinates, coordinates)`."""
        found = torch.cholesky_inverse(self.factor)
        return found if self.free is None else found * self.free.unsqueeze(-1) * self.free.unsqueeze(-2)

    def sample(self) -> Tensor:
        """A draw `(*batch, coordinates)`, of the batch dimensions of the mean."""
        noise = torch.randn(self.mean.shape, dtype=self.mean.dtype, device=self.mean.device)
        factor = self.factor.expand(*self.mean.shape[:-1], *self.factor.shape[-2:])
        moved = torch.linalg.solve_triangular(factor.mT, noise.unsqueeze(-1), upper=True).squeeze(-1)
        return self.mean + (moved if self.free is None else moved * self.free)


def integrate(scene: Scene, block: Block) -> Integral:
    """The integral over the block's nodes of the densities that read them."""
    known: dict = {}
    coordinates = {name: _count(scene, name, block) for name in block.nodes}
    terms = [_term(scene, name, block, known, coordinates) for name in block.terms]
    places, start = {}, 0
    for name, count in coordinates.items():
        places[name] = slice(start, start + count)
        start += count
    log_constant = add([term.log_constant for term in terms])
    squares = _by_batch(terms)
    precision = add([torch.einsum("...nr,...mr->...nm", jacobian, jacobian) for jacobian, _ in squares])
    shift = add([-torch.einsum("...nr,...r->...n", jacobian, residual) for jacobian, residual in squares])
    free, seen = _clamped(scene, block)
    count: int | Tensor = start
    if free is not None:
        shift = free * (shift - torch.einsum("...nm,...m->...n", precision, (1 - free) * seen))
        precision = precision * free.unsqueeze(-1) * free.unsqueeze(-2) + torch.diag_embed(1 - free)
        count = free.sum(-1)
    factor = _cholesky(precision, block)
    mean = _solved(factor, shift)
    if free is not None:
        mean = mean + (1 - free) * seen
    misfits = [residual + torch.einsum("...nr,...n->...r", jacobian, mean) for jacobian, residual in squares]
    misfit = add([misfit.square().sum(-1) for misfit in misfits])
    log_value = log_constant - 0.5 * misfit + 0.5 * LOG_TWO_PI * count - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return Integral(padded(log_value, scene.dims), mean, factor, free, places)


def _solved(factor: Tensor, shift: Tensor) -> Tensor:
    """The solution for each right-hand side; one factor serves all rows that share it."""
    if factor.shape[:-2] == shift.shape[:-1]:
        return torch.cholesky_solve(shift.unsqueeze(-1), factor).squeeze(-1)
    inverse = torch.linalg.solve_triangular(factor, torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device), upper=False)
    half = torch.einsum("...nm,...m->...n", inverse, shift)
    return torch.einsum("...mn,...m->...n", inverse, half)


def _cholesky(precision: Tensor, block: Block) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(precision)
    if _may_wait(precision) and (bool(info.any()) or not bool(factor.diagonal(dim1=-2, dim2=-1).isfinite().all())):
        raise GraphError(
            f"exact integration: the precision of {', '.join(block.nodes)} is not positive definite in double precision; a scale is nearly zero, infinite or not a "
            f"number; hold the scales away from zero, or make the node deterministic: dgm.Delta(v=...)"
        )
    return factor


def _may_wait(tensor: Tensor) -> bool:
    """Whether to look at numbers: not within a training step on an accelerator, which would wait for them; `fit` tells there that a loss is not finite."""
    return tensor.device.type == "cpu" or not torch.is_grad_enabled()


def _clamped(scene: Scene, block: Block) -> tuple[Tensor | None, Tensor | None]:
    """Which coordinates are hidden, one or zero, and the values of those that are not."""
    if not any(name in scene.holes for name in block.nodes):
        return None, None
    free, seen = [], []
    for name in block.nodes:
        if name in scene.holes:
            hole = scene.holes[name]
            free.append(_rows(scene, name, block, hole.double()))
            seen.append(_rows(scene, name, block, scene.values[name].double().masked_fill(hole, 0.0)))
        else:
            free.append(torch.ones((1,) * scene.dims + (_count(scene, name, block),), dtype=torch.float64, device=scene.model.anchor.device))
            seen.append(torch.zeros_like(free[-1]))
    return _joined(free, 1), _joined(seen, 1)


def _joined(parts: Sequence[Tensor], inner: int, dim: int = -1) -> Tensor:
    """Tensors of common batch dimensions, one after the other."""
    batch = broadcast(*(part.shape[: part.ndim - inner] for part in parts))
    return torch.cat([part.expand(*batch, *part.shape[part.ndim - inner:]) for part in parts], dim)


def _by_batch(terms: Sequence[Term]) -> list[tuple[Tensor, Tensor]]:
    """The squares of the terms, those of one batch shape together."""
    groups: dict[tuple, list[Term]] = {}
    for term in terms:
        groups.setdefault(term.jacobian.shape[:-2], []).append(term)
    return [
        (group[0].jacobian, group[0].residual) if len(group) == 1 else
        (torch.cat([term.jacobian for term in group], -1), _joined([term.residual for term in group], 1)) for group in groups.values()
    ]


# ---- densities as squares


def _term(scene: Scene, name: str, block: Block, known: dict, coordinates: dict[str, int]) -> Term:
    conditional = scene.model.conditionals[name]
    parts = {owner: -part for owner, part in scene.moves(name, block, known).items()}
    own = name in block.nodes
    if own:
        parts[name] = scene.parts(name, block, known)[name]
    prepared = conditional.prepare(*scene.parents(name))
    residual = (0.0 if own else scene.value(name).double()) - conditional.location(prepared).double()
    whiten, log_scale = _whitener(conditional, prepared)
    residual, log_constant = whiten(residual), -log_scale - 0.5 * LOG_TWO_PI
    weight = None
    if name in scene.holes and not own:
        weight = scene.seen(name).double()
        residual, log_constant = torch.where(weight > 0, residual, 0.0), weight * log_constant
    residual, log_constant = (_rows(scene, name, block, each) for each in (residual, log_constant))
    rows, pieces = residual.shape[-1], []
    for owner in block.nodes:
        if owner in parts:
            part = whiten(parts[owner].double())
            part = part if weight is None else part * weight
            pieces.append(_rows(scene, name, block, padded(part, part.ndim), lead=1).movedim(0, -2))
        else:
            pieces.append(residual.new_zeros((1,) * scene.dims + (coordinates[owner], rows)))
    return Term(_joined(pieces, 2, -2), residual, log_constant.sum(-1))


def _whitener(conditional: Parametric, prepared: tuple) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Division by the scale, and the logarithm of the scale of each element, `(*batch, *event)`."""
    variable = conditional.variable
    parameters = {name: value.double() for name, value in conditional.named(prepared).items()}
    if variable.family is Normal:
        scale = parameters["scale"]
        return (lambda tensor: tensor / scale), scale.log()
    factor = _factor(conditional, parameters)
    unit = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    inverse = torch.linalg.solve_triangular(factor, unit, upper=False)
    return (lambda tensor: torch.einsum("...de,...e->...d", inverse, tensor)), factor.diagonal(dim1=-2, dim2=-1).log()


def _factor(conditional: Parametric, parameters: dict[str, Tensor]) -> Tensor:
    """The Cholesky factor of a covariance, however it was given."""
    if "scale_tril" in parameters:
        return parameters["scale_tril"]
    if conditional.variable.family is MultivariateNormal:
        given = parameters.get("covariance_matrix")
        covariance = torch.linalg.inv(parameters["precision_matrix"]) if given is None else given
    else:
        wide = parameters["cov_factor"]
        covariance = wide @ wide.mT + torch.diag_embed(parameters["cov_diag"])
    factor, info = torch.linalg.cholesky_ex(covariance)
    if _may_wait(covariance) and bool(info.any()):
        raise GraphError(f"node {conditional.name!r}: expected a covariance that is positive definite; got one that is not; add a little to its diagonal")
    return factor


def _count(scene: Scene, name: str, block: Block) -> int:
    net = scene.structure.net
    return math.prod(scene.sizes[plate] for plate in net.plates_of(name) if plate not in block.plates) * net[name].numel


def _rows(scene: Scene, name: str, block: Block, tensor: Tensor, lead: int = 0) -> Tensor:
    """Members of the plates that the block does not repeat over, and the event, moved into one last dimension: `(*lead, *axes, *worlds, *plates, rows)`."""
    net, event, rank = scene.structure.net, scene.layout.events[name], scene.rank
    full = scene.dims + len(event)
    tensor = tensor.reshape(*tensor.shape[:lead], *(1,) * (full + lead - tensor.ndim), *tensor.shape[lead:])
    gone = [position for position, plate in enumerate(net.plates) if plate not in block.plates]
    members = [scene.sizes[plate] if plate not in block.plates and name in net.plates[plate].nodes else -1 for plate in net.plates]
    tensor = tensor.expand(*(-1,) * (lead + scene.dims - rank), *members, *event)
    left = lead + scene.dims - rank
    kept = [axis for axis in range(lead + scene.dims) if axis - left not in gone]
    tensor = tensor.permute(*kept, *(left + position for position in gone), *range(lead + scene.dims, tensor.ndim))
    tensor = tensor.flatten(len(kept)) if tensor.ndim > len(kept) else tensor.unsqueeze(-1)
    for position in gone:
        tensor = tensor.unsqueeze(left + position)
    return tensor
