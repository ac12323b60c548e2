"""Vectors from a learned codebook: latents of vector-quantized autoencoders, and the encoder that picks the nearest code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..families import Architecture, Categorical, Codewords, Delta, Noise, Tied, Variable
from ..families.variable import checked_shape, whole
from ..graph import GraphError
from .base import Conditional
from .distribution import ConditionalDistribution, leading
from .networks import Shared
from .parametric import Parametric
from .ports import Port

__all__ = ["Book", "Codebook", "CodebookConditional", "Codes", "Quantized", "QuantizedConditional"]


def Codes(*grid: int, size: int, dim: int, prior: Variable | None = None, commitment: float = 0.25, book: Variable | None = None) -> Variable:
    """A latent grid whose every place holds one of `size` learned vectors of `dim` numbers (VQ-VAE).

    A value is `(*worlds, *plates, dim, *grid)`, channels first, as networks over images read it. Its probability is that of the codes under
    the prior; the uniform one costs log(size) nats a code. The derived guide takes the vector nearest to its network's output, and hands the
    gradient with respect to that vector on to the output as it is (straight through). A point mass has no entropy, so the bound is
    log p(x | z) + log p(codes), beside which `dgm.ELBO` minimises, summed over the event,

        |sg[output] - vector|^2 + commitment |output - sg[vector]|^2.

    The codebook belongs to the model: `dgm.compile(recognition, share=model)`.

    Args:
        grid: how the codes are laid out, `(7, 7)` for instance; none for a single code.
        size: the number of codes.
        dim: the numbers of each code's vector.
        prior: the distribution of the codes, any over `size` states on the grid or on (1, *grid), as networks over images want it:
            `dgm.Autoregressive(dgm.Categorical(size, 1, 7, 7), net=dgm.PixelCNN())`; the node's parents condition it.
        commitment: the weight that holds the encoder to the codes it chose.
        book: a node of `Codes` whose vectors this one shares, `net["z"]` when it gets a prior after training.

    Raises:
        GraphError: fewer than two codes, a prior over other states or another grid.

    Source: van den Oord et al. (2017), https://arxiv.org/abs/1711.00937.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Codes(7, 7, size=32, dim=8), x=dgm.Normal(1, 28, 28, scale=0.1).given("z", net=dgm.MLP(64)))
        >>> model = dgm.compile(net)
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(64)), share=model)
        >>> model.conditional("z").codes(guide.sample(given=model.sample(2))["z"]).shape
        torch.Size([2, 7, 7])
    """
    grid = checked_shape(grid, "Codes")
    if (whole(size) or 0) < 2:
        raise GraphError(f"Codes: expected size, the number of codes, to be 2 or more; got {size!r}; try size=512")
    if (whole(dim) or 0) < 1:
        raise GraphError(f"Codes: expected dim, the numbers of each code's vector, to be 1 or more; got {dim!r}; try dim=64")
    if isinstance(commitment, bool) or not isinstance(commitment, (int, float)) or not (math.isfinite(commitment) and commitment >= 0):
        raise GraphError(f"Codes: expected commitment to be a number that is not negative; got {commitment!r}; try commitment=0.25")
    if book is not None and (not isinstance(book, Variable) or not isinstance(book.family, Codebook) or (book.family.size, book.shape[0]) != (size, dim)):
        raise GraphError(f"Codes: expected book= to be a node of {size} codes of {dim} numbers; got {book!r}; leave it out for a codebook of its own")
    kind = Codebook(whole(size), Tied() if book is None else book.family.book, prior, float(commitment))
    if prior is not None:
        kind.check_prior(grid)
    return Variable(kind, (whole(dim), *grid))


@dataclass(frozen=True, repr=False)
class Codebook(Architecture):
    """The distribution of a node that `Codes` declares; nodes with the same `book` share their vectors."""

    size: int
    book: Tied
    prior: Variable | None = None
    commitment: float = 0.25

    @property
    def inner(self) -> tuple[Variable, ...]:
        return () if self.prior is None else (self.prior,)

    @property
    def net_label(self) -> str:
        return "" if self.prior is None or not isinstance(self.prior.family, Architecture) else self.prior.family.net_label

    def check_prior(self, grid: tuple[int, ...]) -> None:
        wanted = f"dgm.Categorical({', '.join(map(str, (self.size, *grid)))})"
        if not isinstance(self.prior, Variable) or self.prior.space.cardinality != self.size or not self.prior.space.integer or self.prior.shape not in (grid, (1, *grid)):
            raise GraphError(f"Codes: expected a prior over {self.size} states on the grid {grid}; got {self.prior!r}; try prior=dgm.Autoregressive({wanted}, net=...), or {wanted}")
        if self.prior.parents:
            raise GraphError(f"Codes: parents are given to the node, not to its prior; try dgm.Codes(..., prior={self.prior.summary}).given({', '.join(map(repr, self.prior.parents))})")

    def space(self, variable: Variable) -> Codewords:
        return Codewords(self.size)

    def summary(self, variable: Variable) -> str:
        dim, *grid = variable.shape
        asked = {"prior": (self.prior, None), "commitment": (self.commitment, 0.25)}
        return f"Codes({', '.join([*map(str, grid), f'size={self.size}', f'dim={dim}', *(f'{name}={value!r}' for name, (value, usual) in asked.items() if value != usual)])})"

    def caption(self, variable: Variable) -> str:
        return f"Codes({', '.join(map(str, variable.shape[1:]))}), {self.size} of {variable.shape[0]}"

    def recognition(self, variable: Variable) -> Variable:
        return Variable(Quantized(self.size, self.book, self.commitment), variable.shape)

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        if self.prior is None and variable.parents:
            raise GraphError(f"node {name!r}: its codes are uniform, whatever {variable.parents[0]!r} is; say which distribution reads it: prior=dgm.Categorical({self.size}, ...)")

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> CodebookConditional:
        uniform = Categorical(self.size, *variable.shape[1:], logits=[0.0] * self.size)
        prior = replace(uniform if self.prior is None else self.prior, parents=variable.parents, net=variable.net, fn=variable.fn)
        build = prior.family.build if isinstance(prior.family, Architecture) else Parametric
        built = build(name, prior, ports, plates=plates, all_plates=all_plates, shared=shared)
        return CodebookConditional(name, variable, ports, _book(name, self, variable, shared), built)


@dataclass(frozen=True, repr=False)
class Quantized(Architecture):
    """A guide's distribution of codes: all its mass on those nearest to what a network computes."""

    size: int
    book: Tied
    commitment: float = 0.25

    def space(self, variable: Variable) -> Codewords:
        return Codewords(self.size)

    def summary(self, variable: Variable) -> str:
        dim, *grid = variable.shape
        return f"Quantized({', '.join([*map(str, grid), f'size={self.size}', f'dim={dim}'])})"

    def caption(self, variable: Variable) -> str:
        return f"nearest of {self.size} codes"

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        if not variable.parents:
            raise GraphError(f"node {name!r}: its codes are those nearest to what a network computes of the data; got no parents; try dgm.amortize(net, observed='x', net=dgm.MLP(128))")

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> QuantizedConditional:
        computed = Variable(Delta, variable.shape, parents=variable.parents, net=variable.net, fn=variable.fn)
        encoder = Parametric(name, computed, ports, plates=plates, all_plates=all_plates, shared=shared)
        return QuantizedConditional(name, variable, ports, _book(name, self, variable, shared), encoder)


def _book(name: str, kind: Codebook | Quantized, variable: Variable, shared: Shared) -> Book:
    """The vectors, those at hand where a node was given the same book."""
    sizes = (kind.size, variable.shape[0])
    book, known, _ = shared.setdefault(id(kind.book), (Book(*sizes), sizes, kind.book))
    if known != sizes:
        raise GraphError(f"node {name!r}: shares its codebook with a node of {known[0]} codes of {known[1]} numbers; got {sizes[0]} of {sizes[1]}; declare it anew: dgm.Codes(...)")
    return book


class Book(nn.Module):
    """The vectors of all codes, `(size, dim)`."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, dim) / math.sqrt(dim))

    def nearest(self, value: Tensor, rank: int) -> Tensor:
        """The codes `(*batch, *grid)` whose vectors are nearest to those of `(*batch, dim, *grid)`; `rank` counts the grid's dimensions."""
        return self.nearest_of(value.movedim(-1 - rank, -1))

    def nearest_of(self, rows: Tensor) -> Tensor:
        """The codes `(*batch, *grid)` whose vectors are nearest to `(*batch, *grid, dim)`."""
        with torch.no_grad():
            return torch.addmm(self.weight.square().sum(-1), rows.reshape(-1, rows.shape[-1]), self.weight.mT, alpha=-2).argmin(-1).view(rows.shape[:-1])

    def vectors(self, codes: Tensor, rank: int) -> Tensor:
        """The vectors `(*batch, dim, *grid)` of codes `(*batch, *grid)`."""
        return self.weight[codes].movedim(-1, -1 - rank)


class _Apart(torch.autograd.Function):
    """|sg[output] - vectors|^2 + commitment |output - sg[vectors]|^2, summed over the last dimensions: each moves towards the other at its own pace."""

    @staticmethod
    def forward(ctx, output: Tensor, vectors: Tensor, commitment: float, elements: int) -> Tensor:
        apart = output - vectors
        ctx.save_for_backward(apart)
        ctx.commitment, ctx.ones = commitment, (1,) * elements
        return (apart * apart).flatten(-elements).sum(-1).mul_(1 + commitment)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (apart,), weight = ctx.saved_tensors, 2 * gradient.reshape(*gradient.shape, *ctx.ones)
        return apart * (weight * ctx.commitment), apart * -weight, None, None


class _OfCodes(Conditional):
    """What the model's node and the guide's share: the book, and how codes and vectors become each other."""

    functional = True

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], book: Book):
        super().__init__(name, variable, ports)
        self.book, self.rank = book, len(variable.shape) - 1

    def codes(self, value: Tensor) -> Tensor:
        """The codes `(*batch, *grid)` of values `(*batch, dim, *grid)`: those of the nearest vectors."""
        if tuple(value.shape[value.ndim - len(self.variable.shape):]) != self.variable.shape:
            raise GraphError(f"node {self.name!r}: expected vectors {('...', *self.variable.shape)}; got the shape {tuple(value.shape)}")
        return self.book.nearest(value, self.rank)

    def vectors(self, codes: Tensor) -> Tensor:
        """The value `(*batch, dim, *grid)` of codes `(*batch, *grid)`.

        Raises:
            GraphError: codes of another shape, or outside the book.
        """
        size, grid = len(self.book.weight), self.variable.shape[1:]
        if codes.is_floating_point() or tuple(codes.shape[codes.ndim - len(grid):]) != grid:
            raise GraphError(f"node {self.name!r}: expected whole numbers {('...', *grid)}; got {codes.dtype} of the shape {tuple(codes.shape)}")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < size:
            odd = int(codes.min()) if int(codes.min()) < 0 else int(codes.max())
            raise GraphError(f"node {self.name!r}: the book has the codes 0 to {size - 1}; got {odd}; declare a larger one: dgm.Codes(..., size={max(odd, size) + 1})")
        return self.book.vectors(codes, self.rank)

    def _differs(self, value: Tensor, vectors: Tensor) -> Tensor:
        """Which values are not these vectors, `(*batch)`."""
        close = torch.isclose(value.detach(), vectors.detach(), rtol=1e-4, atol=1e-6)
        return ~close.flatten(-1 - self.rank).all(-1)

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)


class CodebookConditional(_OfCodes):
    """log p(z | parents) = log p(codes | parents), minus infinity for vectors that are not in the book."""

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], book: Book, prior: Conditional):
        super().__init__(name, variable, ports, book)
        self.prior = prior

    def prepare(self, *parents: Tensor) -> Any:
        return self.prior.prepare(*parents)

    def draw(self, batch: Sequence[int], prepared: Any, noise: Noise) -> Tensor:
        codes = self.prior.draw(batch, prepared, noise).reshape(*batch, *self.variable.shape[1:])
        return self.book.vectors(codes, self.rank).detach()

    def log_mass(self, codes: Tensor, prepared: Any) -> Tensor:
        """log p of the codes `(*batch, *grid)`, `(*batch)`."""
        if self.variable.family.prior is None:
            return self.book.weight.new_full(codes.shape[: codes.ndim - self.rank], -math.prod(self.variable.shape[1:]) * math.log(self.variable.family.size))
        return self.prior.log_density(codes.reshape(*codes.shape[: codes.ndim - self.rank], *self.prior.variable.shape), prepared)

    def surprisals(self, value: Tensor, prepared: Any) -> Tensor:
        codes = self.book.nearest(value, self.rank)
        return torch.where(self._differs(value, self.book.vectors(codes, self.rank)), math.inf, -self.log_mass(codes, prepared))


class QuantizedConditional(_OfCodes):
    """q(z | parents): a point mass at the vectors nearest to the encoder's output."""

    reparameterized = True
    has_auxiliary = True

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], book: Book, encoder: Parametric):
        super().__init__(name, variable, ports, book)
        self.encoder = encoder

    def of_model(self, theirs: Conditional | None) -> None:
        if not isinstance(theirs, CodebookConditional):
            raise GraphError(f"node {self.name!r}: its codes are those of the model's codebook; hand the model over: dgm.compile(recognition, share=model)")
        self.book = theirs.book

    def prepare(self, *parents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's output and the vectors of the codes, both `(*batch, *grid, dim)`, and the codes."""
        output = self.encoder.value(self.encoder.prepare(*parents)).movedim(-1 - self.rank, -1).contiguous()
        codes = self.book.nearest_of(output)
        return output, self.book.weight[codes], codes

    def draw(self, batch: Sequence[int], prepared: tuple, noise: Noise) -> Tensor:
        output, vectors, _ = prepared
        through = vectors.detach() + (output - output.detach())             # the vectors, whose gradient goes to what they were chosen by
        return through.movedim(-1, -1 - self.rank).expand(*batch, *self.variable.shape)

    def surprisals(self, value: Tensor, prepared: tuple) -> Tensor:
        return torch.where(self._differs(value, prepared[1].movedim(-1, -1 - self.rank)), math.inf, value.new_zeros(()))

    def divergences(self, prepared: tuple, other: Conditional, other_prepared: Any) -> Tensor | None:
        """-log p of the codes: a point mass has no entropy."""
        if not isinstance(other, CodebookConditional):
            return None
        if other.book is not self.book and torch.is_grad_enabled():
            raise GraphError(
                f"node {self.name!r}: the guide has a codebook of its own, which training would part from the model's; share it and take over the rest: "
                f"guide = dgm.compile(recognition, share=model), guide.load_state_dict(...)"
            )
        return -other.log_mass(prepared[2], other_prepared) if other.book is self.book else None

    def auxiliary(self, prepared: tuple) -> Tensor:
        output, vectors, _ = prepared
        return _Apart.apply(output, vectors, self.variable.family.commitment, 1 + self.rank)
