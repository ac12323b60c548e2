"""What turns parents into parameters: a table, a linear predictor, a network, or the user's own function."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..families import Setting
from ..families.shapes import broadcast
from ..graph import GraphError
from .ports import Port, broadcast_batch

__all__ = ["Configurations", "Function", "Linear", "LinearAndTable", "Network", "ParentFunction", "Table"]

LARGEST_TABLE = 50_000_000
Shapes = Sequence[tuple[int, ...]]


class Configurations:
    """The row of a table that the finite parents select: `sum_i value_i * stride_i`."""

    def __init__(self, ports: Sequence[Port], selected: Sequence[int]):
        self.selected = tuple(selected)
        self.sizes = tuple(ports[i].space.cardinality for i in selected)
        self.strides = tuple(math.prod(self.sizes[i + 1:]) for i in range(len(self.sizes)))

    @property
    def count(self) -> int:
        return math.prod(self.sizes)

    def check_size(self, name: str, numbers: int) -> None:
        """Raises where a table with so many numbers a row would fill the memory."""
        if self.count * numbers > LARGEST_TABLE:
            raise GraphError(
                f"node {name!r}: its table would have {self.count:,} parent configurations and {self.count * numbers:,} parameters; give a network: "
                f".given(..., net=dgm.MLP(64))"
            )

    def __call__(self, *parents: Tensor) -> Tensor:
        row = parents[self.selected[-1]].long()                             # its stride is one
        for i, stride in zip(self.selected[:-1], self.strides):
            row = row + parents[i].long() * stride
        return row


class Table(nn.Module):
    """One row of parameters for each configuration of the finite parents."""

    def __init__(self, name: str, configurations: Configurations, names: Sequence[str], shapes: Shapes):
        super().__init__()
        self.configurations, self.shapes = configurations, tuple(map(tuple, shapes))
        configurations.check_size(name, sum(map(math.prod, shapes)))
        self.rows = nn.ParameterDict([                                      # pairs, as a dict would be sorted; unequal rows, or a latent parent would never come alive
            (name, nn.Parameter(0.1 * torch.randn(configurations.count, *shape))) for name, shape in zip(names, shapes)
        ])

    def forward(self, *parents: Tensor) -> list[Tensor]:
        row = self.configurations(*parents)
        return [rows[row] for rows in self._modules["rows"]._parameters.values()]  # on a CPU many times faster, backwards, than an embedding

    def biases(self) -> list[Tensor]:
        """What is added to each parameter, its numbers in the last dimension."""
        return [rows.view(self.configurations.count, -1) for rows in self.rows.values()]

    def laid_out(self, *parents: Tensor) -> list[Tensor]:
        """The rows where each parent holds all its states, in order, along a dimension of its own: nothing has to be looked up."""
        configurations = self.configurations
        dims = [parents[i].ndim for i in configurations.selected]
        order = sorted(range(len(dims)), key=lambda position: -dims[position])
        batch = [1] * max(dims)
        for dim, size in zip(dims, configurations.sizes):
            batch[max(dims) - dim] = size
        found = []
        for rows, shape in zip(self._modules["rows"]._parameters.values(), self.shapes):
            if len(order) > 1:
                rows = rows.reshape(*configurations.sizes, *shape).permute(*order, *range(len(order), len(order) + len(shape)))
            found.append(rows.reshape(*batch, *shape))
        return found


class Linear(nn.Module):
    """A linear predictor on the real parents, with its own coefficients for each configuration of the finite ones.

    With a table of scales (`LinearAndTable`), a Normal is the conditional linear Gaussian: a linear regression of its own, with a
    residual scale of its own, for each configuration of the finite parents (Lauritzen, 1992, doi:10.1080/01621459.1992.10476265).
    """

    def __init__(self, name: str, ports: Sequence[Port], configurations: Configurations | None, shapes: Shapes):
        super().__init__()
        self.ports, self.configurations, self.shapes = tuple(ports), configurations, tuple(map(tuple, shapes))
        self.inputs = tuple(i for i in range(len(ports)) if configurations is None or i not in configurations.selected)
        self.sizes = [math.prod(shape) for shape in self.shapes]
        features, outputs = sum(ports[i].features for i in self.inputs), sum(self.sizes)
        if configurations is None:
            self.predictor = nn.Linear(features, outputs)
        else:
            configurations.check_size(name, outputs * (features + 1))
            bound = 1 / math.sqrt(features)
            self.weight = nn.Parameter(torch.empty(configurations.count, outputs, features).uniform_(-bound, bound))
            self.bias = nn.Parameter(torch.empty(configurations.count, outputs).uniform_(-bound, bound))

    def forward(self, *parents: Tensor) -> list[Tensor]:
        like = next(self.parameters())
        features = joined([self.ports[i] for i in self.inputs], [parents[i] for i in self.inputs], like)
        if self.configurations is None:
            return split(self.predictor(features), self.sizes, self.shapes)
        row = self.configurations(*parents)
        product = (self.weight[row] @ features.unsqueeze(-1)).squeeze(-1)
        return split(product + self.bias[row], self.sizes, self.shapes)

    def biases(self) -> list[Tensor]:
        """What is added to each parameter, its numbers in the last dimension."""
        return list((self.predictor.bias if self.configurations is None else self.bias).split(self.sizes, -1))

    def coefficients(self, parents: Sequence[Tensor], parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The coefficients of the first parameter, `(coordinates, *batch, *shape)`, from those of the parents."""
        weight = self.predictor.weight if self.configurations is None else self.weight[self.configurations(*parents)]
        weight, found, start = weight[..., : self.sizes[0], :], {}, 0
        for i in self.inputs:
            rank, width = self.ports[i].encoded_rank, self.ports[i].features
            for name, part in parts[i].items():
                flat = part.flatten(-rank) if rank else part.unsqueeze(-1)
                piece = (weight[..., start: start + width] @ flat.unsqueeze(-1)).squeeze(-1)
                piece = _shaped(piece, self.shapes[0])
                found[name] = found[name] + piece if name in found else piece
            start += width
        return found


class LinearAndTable(nn.Module):
    """Some parameters from a linear predictor, then the others from a table."""

    def __init__(self, linear: Linear, table: Table):
        super().__init__()
        self.linear, self.table = linear, table

    def forward(self, *parents: Tensor) -> list[Tensor]:
        return [*self.linear(*parents), *self.table(*parents)]

    def biases(self) -> list[Tensor]:
        """What is added to each parameter, its numbers in the last dimension."""
        return [*self.linear.biases(), *self.table.biases()]


class Network(nn.Module):
    """A network's output, cut into the computed parameters.

    A `flat` network takes the parents encoded, flattened and concatenated; another takes each in its own shape, under one
    leading dimension. `batched` networks take any number of leading dimensions.
    """

    def __init__(self, network: nn.Module, ports: Sequence[Port], shapes: Shapes, *, flat: bool, batched: bool):
        super().__init__()
        self.network, self.ports, self.shapes = network, tuple(ports), tuple(map(tuple, shapes))
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.flat, self.batched = flat, batched
        self.plain = flat and batched and len(self.ports) == 1 and self.ports[0].is_plain
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    def forward(self, *parents: Tensor) -> list[Tensor]:
        network, anchor = self._modules["network"], self._buffers["anchor"]
        if self.plain:
            return self._parameters_in(network(parents[0]))
        if self.flat:
            features = joined(self.ports, parents, anchor)
            if self.batched and features.ndim > 2 and features.is_contiguous():     # once here, where each layer would do it
                return self._parameters_in(network(features.view(-1, features.shape[-1])).view(*features.shape[:-1], -1))
            if self.batched or features.ndim == 2:
                return self._parameters_in(network(features))
            return self._parameters_in(self._one_batch([features], features.shape[:-1]))
        ranks = [port.encoded_rank for port in self.ports]
        encoded = broadcast_batch([port.encode(value, anchor) for port, value in zip(self.ports, parents)], ranks)
        if self.batched:
            return self._parameters_in(network(*encoded))
        return self._parameters_in(self._one_batch(encoded, encoded[0].shape[: encoded[0].ndim - ranks[0]]))

    @property
    def scans(self) -> bool:
        """Whether the network gives the states of all steps in one call: `network.scan(reads, state)`."""
        return self.flat and self.batched and len(self.ports) > 1 and hasattr(self.network, "scan")

    def scan(self, state: Tensor, parents: Sequence[Tensor], axis: int, steps: int, *, backwards: bool, lengths: Tensor | None) -> Tensor:
        """The states `(*batch, width)` at all steps, which lie `axis` from the right among the batch's dimensions, from what stands for the state before the first
        `(width)` and the other parents; `backwards` from the last step of each sequence, `lengths` `(*batch)` with one step, or None where all are of so many."""
        reads = joined(self.ports[1:], parents, self._buffers["anchor"])
        batch = list(reads.shape[:-1] if lengths is None or not backwards else broadcast(reads.shape[:-1], lengths.shape))
        batch[axis] = steps
        reads = reads.expand(*batch, reads.shape[-1]).movedim(axis - 1, -2)
        turned = _Turned(steps, lengths.expand(*batch[:axis], 1, *batch[len(batch) + axis + 1:]).reshape(-1, 1) if lengths is not None else None) if backwards else None
        rows = reads.reshape(-1, steps, reads.shape[-1])
        found = self.network.scan(rows if turned is None else turned(rows), state.expand(len(rows), -1))
        return (found if turned is None else turned(found)).reshape(*reads.shape[:-1], -1).movedim(-2, axis - 1)

    def _parameters_in(self, output: Tensor) -> Sequence[Tensor]:
        return split(output, self.sizes, self.shapes)

    def _one_batch(self, values: list[Tensor], batch: torch.Size) -> Tensor:
        output = self.network(*(value.reshape(-1, *value.shape[len(batch):]) for value in values))
        return output.reshape(*batch, -1)


class _Turned:
    """Turns sequences `(rows, steps, numbers)` round, each from its own last step on, what is beyond it behind; twice gives what there was."""

    def __init__(self, steps: int, lengths: Tensor | None):
        self.order = None if lengths is None else ((lengths - 1 - torch.arange(steps, device=lengths.device)) % steps).unsqueeze(-1)

    def __call__(self, rows: Tensor) -> Tensor:
        return rows.flip(1) if self.order is None else rows.gather(1, self.order.expand(*self.order.shape[:2], rows.shape[-1]))


class ParentFunction(Setting):
    """A function of the parents that is data: saved, compared and printed with the declaration."""

    @abstractmethod
    def of(self, name: str, ports: Sequence[Port]) -> Callable:
        """What the node computes its parameters by: a function of the parents' values, or a module where something of it is learned."""


class Function(nn.Module):
    """The user's function of the parents' values; it returns the parameters themselves."""

    def __init__(self, name: str, fn: Callable, ports: Sequence[Port], names: Sequence[str], shapes: Shapes):
        super().__init__()
        self.fn = fn.of(name, ports) if isinstance(fn, ParentFunction) else fn
        self.name, self.names, self.shapes = name, tuple(names), tuple(map(tuple, shapes))

    def forward(self, *parents: Tensor) -> list[Any]:
        values = self._in_order(self.fn(*parents))
        for name, value in zip(self.names, values):
            if not isinstance(value, (Tensor, int, float)):
                raise GraphError(f"node {self.name!r}: fn must return tensors or numbers; got {type(value).__name__} for {name!r}{'; does it return?' if value is None else ''}")
        return values

    def _in_order(self, result: Any) -> list[Any]:
        if isinstance(result, Mapping):
            if set(result) != set(self.names):
                raise GraphError(f"node {self.name!r}: fn must return the parameters {list(self.names)}; got {list(result)}; try {self._mend()}")
            return [result[name] for name in self.names]
        values = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(values) != len(self.names):
            raise GraphError(
                f"node {self.name!r}: fn must return {len(self.names)} parameters {list(self.names)}; got {len(values)}; return "
                f"{self._mend()}, or fix or free the others: {self.names[-1]}=dgm.free()"
            )
        return values

    def _mend(self) -> str:
        return f"dict({', '.join(f'{name}=...' for name in self.names)})"


def joined(ports: Sequence[Port], parents: Sequence[Tensor], like: Tensor) -> Tensor:
    """The encoded parents in one vector, `(*batch, features)`."""
    if len(ports) == 1:
        return ports[0].encode_flat(parents[0], like)
    encoded = [port.encode_flat(value, like) for port, value in zip(ports, parents)]
    return torch.cat(broadcast_batch(encoded, [1] * len(encoded)), -1)


def split(output: Tensor, sizes: Sequence[int], shapes: Shapes) -> Sequence[Tensor]:
    """A network's output `(*batch, numbers)` or `(n, *image)` cut into parameters `(*batch, *shape)` of `sizes` numbers."""
    if not any(shapes):
        return output.unbind(-1) if len(sizes) > 1 else (output.squeeze(-1),)
    pieces = (output,) if len(sizes) == 1 else torch.split_with_sizes(output, sizes, -1)
    return [piece if len(shape) == 1 else _shaped(piece, shape) for piece, shape in zip(pieces, shapes)]


def _shaped(piece: Tensor, shape: tuple[int, ...]) -> Tensor:
    return piece.unflatten(-1, shape) if shape else piece.squeeze(-1)
