"""Causal attention over an event, and cross-attention to parents that are sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import Shape, Shapes, numbers
from .causal import CausalNet, Event, Stepper, flat_context
from .checks import positive, rate
from .sequences import Line, added, line_fits

__all__ = ["Transformer"]


@dataclass(frozen=True, init=False, repr=False)
class Transformer(CausalNet):
    """A decoder of causal self-attention, layers normalized before each block (Vaswani et al., 2017; Radford et al., 2019).

    Elements are read one after another in C order or in any `order`: images, text, any tokens. A parent that is a sequence
    `(length, ...)` or an image is encoded by self-attention of its own and read by cross-attention in every layer; both pass over the
    steps of a sequence that ended. What other parents say is added to every step.

    Args:
        width: of the stream, a multiple of `heads`.
        layers, heads: of the decoder.
        encoder: layers over parents that are sequences.
        dropout: of what each block adds, in training.
        grouped: the first event dimension is time, and the elements of one step are independent given the steps before.

    Example:
        >>> import torch
        >>> Transformer(8, layers=1, heads=2).causal(Event((4,), states=3, outputs=3), ())(torch.zeros(2, 4, dtype=torch.long)).shape
        torch.Size([2, 4, 3])
    """

    over_time = True

    width: int
    layers: int
    heads: int
    encoder: int
    dropout: float
    grouped: bool

    def __init__(self, width: int, *, layers: int = 4, heads: int = 4, encoder: int = 2, dropout: float = 0.0, grouped: bool = False) -> None:
        if positive("Transformer", "width", width) % positive("Transformer", "heads", heads):
            raise ValueError(f"Transformer: expected width to be a multiple of heads; got width={width}, heads={heads}; try width={width + heads - width % heads}")
        self._freeze(
            width=int(width), layers=positive("Transformer", "layers", layers), heads=int(heads), encoder=positive("Transformer", "encoder", encoder),
            dropout=rate("Transformer", "dropout", dropout), grouped=bool(grouped),
        )

    def check(self, event: Event) -> None:
        line_fits(self, event, self.grouped)

    def context_shape(self, event: Event) -> Shape:
        return (self.width,)

    def causal(self, event: Event, parents: Shapes) -> AttendingLine:
        self.check(event)
        return AttendingLine(event, parents, self)


class AttendingLine(Line):
    """The module of `Transformer`."""

    def __init__(self, event: Event, parents: Shapes, net: Transformer):
        super().__init__(event, tuple(shape for shape in parents if len(shape) < 2), net.width, grouped=net.grouped)
        self.sequences = [place for place, shape in enumerate(parents) if len(shape) > 1]
        self.plain = [place for place, shape in enumerate(parents) if len(shape) < 2]
        self.positions = nn.Parameter(0.02 * torch.randn(self.steps, net.width))
        self.padded = bool(event.padded)
        self.encoders = nn.ModuleList(Encoder(parents[place], net, padded=place in event.padded) for place in self.sequences)
        self.blocks = nn.ModuleList(Block(net, cross=bool(self.sequences)) for _ in range(net.layers))
        self.norm = nn.LayerNorm(net.width)

    def context(self, *parents: Tensor) -> tuple[Tensor, ...]:
        """What plain parents add to every step, where there are any, then the memory of those that are sequences, and which of its steps count where some may not."""
        plain = [self.conditioning(flat_context([parents[place] for place in self.plain]))] if self.plain else []
        counted = [encoder.counted(parents[place]) for encoder, place in zip(self.encoders, self.sequences)]
        memory = [encoder(parents[place], steps) for encoder, place, steps in zip(self.encoders, self.sequences, counted)]
        found = [torch.cat(memory, 1)] if memory else []
        if self.padded:
            found.append(torch.cat([one.new_ones(one.shape[:2], dtype=torch.bool) if steps is None else steps for one, steps in zip(memory, counted)], 1))
        return (*plain, *found)

    def _parts(self, context: Sequence[Tensor]) -> tuple[Sequence[Tensor], Tensor | None, Tensor | None]:
        rest = context[1:] if self.plain else context
        return context[:1] if self.plain else (), rest[0] if rest else None, rest[1] if self.padded else None

    def forward(self, values: Tensor, context: Sequence[Tensor] = (), order: int = 0) -> Tensor:
        plain, memory, counted = self._parts(context)
        stream = added(self.shifted(values), plain) + self.positions
        for block in self.blocks:
            stream = block(stream, memory, counted)
        return self.outputs(self.norm(stream))

    def stepper(self, context: Sequence[Tensor], rows: int, order: int = 0) -> AttendingStepper:
        return AttendingStepper(self, *self._parts(context), rows)


class Attention(nn.Module):
    """Queries of one stream over keys and values of another, in several heads."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.pair, self.output = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def _headed(self, features: Tensor) -> Tensor:
        return features.unflatten(-1, (self.heads, -1)).transpose(1, 2)     # (n, heads, steps, width)

    def queries(self, stream: Tensor) -> Tensor:
        return self._headed(self.query(stream))

    def pairs(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values."""
        keys, values = self.pair(memory).chunk(2, -1)
        return self._headed(keys), self._headed(values)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, counted: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """What queries find in the steps that count, `(n, steps)`; in all where none says."""
        mask = None if counted is None else counted[:, None, None]
        found = functional.scaled_dot_product_attention(queries, keys, values, mask, is_causal=causal)
        return self.output(found.transpose(1, 2).flatten(2))

    def forward(self, stream: Tensor, memory: Tensor, counted: Tensor | None = None, *, causal: bool = False) -> Tensor:
        return self.attend(self.queries(stream), *self.pairs(memory), counted, causal=causal)


class Block(nn.Module):
    """Self-attention, cross-attention where there is a memory, and two layers step by step, each added to the stream."""

    def __init__(self, net: Transformer, *, cross: bool, causal: bool = True):
        super().__init__()
        width, self.causal = net.width, causal
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if cross else 2))
        self.own = Attention(width, net.heads)
        self.cross = Attention(width, net.heads) if cross else None
        self.wide = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(net.dropout)

    def forward(self, stream: Tensor, memory: Tensor | None = None, counted: Tensor | None = None) -> Tensor:
        """`counted` are the steps that count of the memory, or of the stream where there is no memory."""
        seen = self.norms[0](stream)
        stream = stream + self.dropout(self.own(seen, seen, counted if self.cross is None else None, causal=self.causal))
        if self.cross is not None:
            stream = stream + self.dropout(self.cross(self.norms[2](stream), memory, counted))
        return stream + self.dropout(self.wide(self.norms[1](stream)))


class Encoder(nn.Module):
    """A parent that is a sequence, `(n, length, ...)` or an image `(n, channels, ...)`, as a memory `(n, length, width)`."""

    def __init__(self, shape: Shape, net: Transformer, *, padded: bool = False):
        super().__init__()
        self.image, self.padded = len(shape) > 2, padded
        length, features = (numbers([shape[1:]]), shape[0]) if self.image else shape
        self.embedding = nn.Linear(features, net.width)
        self.positions = nn.Parameter(0.02 * torch.randn(length, net.width))
        self.blocks = nn.ModuleList(Block(net, cross=False, causal=False) for _ in range(net.encoder))
        self.norm = nn.LayerNorm(net.width)

    def counted(self, parent: Tensor) -> Tensor | None:
        """The steps that count, `(n, length)`, the first at least, so that something is read; None for all."""
        if not self.padded:
            return None
        found = parent[..., -1] > 0
        return torch.cat([torch.ones_like(found[:, :1]), found[:, 1:]], 1)

    def forward(self, parent: Tensor, counted: Tensor | None = None) -> Tensor:
        stream = self.embedding(parent.flatten(2).transpose(1, 2) if self.image else parent) + self.positions
        for block in self.blocks:
            stream = block(stream, None, counted)
        return self.norm(stream)


class AttendingStepper(Stepper):
    """Keys and values of the steps so far are kept, those of the memory computed once."""

    def __init__(self, network: AttendingLine, plain: Sequence[Tensor], memory: Tensor | None, counted: Tensor | None, rows: int):
        self.network, self.plain, self.counted, self.rows = network, tuple(plain), counted, rows
        heads = network.blocks[0].own.heads
        shape = (len(network.blocks), 2, rows, heads, network.steps, network.width // heads)
        self.cache = network.start.new_zeros(shape)
        self.memory = [None if memory is None else block.cross.pairs(memory) for block in network.blocks]

    def step(self, turn: int, previous: Tensor | None) -> Tensor:
        network = self.network
        stream = added(network.inputs(turn, previous, self.rows), self.plain) + network.positions[turn]
        stream = stream[:, None]
        for block, cache, memory in zip(network.blocks, self.cache, self.memory):
            seen = block.norms[0](stream)
            keys, values = block.own.pairs(seen)
            cache[0, :, :, turn], cache[1, :, :, turn] = keys[:, :, 0], values[:, :, 0]
            stream = stream + block.own.attend(block.own.queries(seen), cache[0, :, :, : turn + 1], cache[1, :, :, : turn + 1])
            if memory is not None:
                stream = stream + block.cross.attend(block.cross.queries(block.norms[2](stream)), *memory, self.counted)
            stream = stream + block.wide(block.norms[1](stream))
        return network.outputs_at(network.norm(stream[:, 0]))

    def take(self, rows: Tensor) -> None:
        self.cache = self.cache[:, :, rows]
        self.memory = [None if pair is None else tuple(part[rows] for part in pair) for pair in self.memory]
        self.counted = None if self.counted is None else self.counted[rows]
        self.plain, self.rows = tuple(part[rows] for part in self.plain), len(rows)
