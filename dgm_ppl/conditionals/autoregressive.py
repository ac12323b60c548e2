"""The chain rule over the elements of one node: each has a distribution whose parameters a network computes from those before it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ..families import Architecture, Delta, Expression, Family, Ref, Variable
from ..families.evaluation import evaluator
from ..families.expressions import as_expression, references
from ..families.variable import whole
from ..graph import DAG, GraphError, did_you_mean
from ..nets import CausalNet
from ..nets.causal import Event
from .chain import AutoregressiveConditional
from .colours import Coloured
from .networks import Shared, network_of, shared_module
from .ordering import graph_over, orders_over, parents_in
from .parametric import Parametric
from .ports import Port
from .sources import check_lengths, presence_shape

__all__ = ["Autoregression", "Autoregressive"]


def Autoregressive(base: Variable, *, net: CausalNet, order: Any = None, adjacency: Any = None, end: int | str | None = None, length: Any = None, ends: Mapping[str, int | str] = MappingProxyType({})) -> Variable:
    """A node whose elements are drawn one after another: p(x) = prod_i p(x_i | the elements before it, parents).

    Arguments:
        base: what an element is, and the event's shape: `Bernoulli(1, 28, 28)`, `Categorical(256, 100)`, `Normal(6)`. Parameters that
            it gives are fixed, the others are computed by `net`.
        net: a network over the event: `FVSBN`, `NADE`, `MADE`, `PixelCNN`, `PixelSNAIL`, `Transformer`, `WaveNet`, `Recurrent`. It reads
            the parents of `.given("c")`, or what a network of theirs makes of them: `.given("c", net=MLP(64))`.
        order: the numbers of the elements (C order), from first to last; several orders for a net that mixes orders.
        adjacency: a `DAG` over the elements (their numbers, or names in the order in which it declares them), or a matrix whose row says
            which elements an element depends on; honoured exactly.
        end: the token (code or label) with which a sequence ends; what stands after it does not count, and sampling stops.
        length: the name of a parent (or an expression) that says how many steps along the first dimension count.
        ends: where parents that are sequences end, `{"source": 0}` with a token's code, `{"source": "n"}` at the number of steps that node `n`
            holds. What stands behind is not read, and attention passes over it.

    Raises:
        GraphError: a cycle, an order or graph of another size, a shape that the net cannot take, an end that is no token.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(c=dgm.Categorical(10), x=dgm.Autoregressive(dgm.Bernoulli(784), net=dgm.MADE(500)).given("c"))
        >>> net["x"]
        Autoregressive(Bernoulli(784), net=MADE(500)) | c
        >>> dgm.compile(net).sample(2)["x"].shape
        torch.Size([2, 784])
    """
    if not isinstance(net, CausalNet):
        raise GraphError(f"Autoregressive: expected net= to be a network over the event; got {net!r}; try net=dgm.MADE(500), or Transformer, PixelCNN, WaveNet, Recurrent")
    if isinstance(base, Variable) and isinstance(base.family, Coloured):
        if order is not None or adjacency is not None or end is not None or length is not None:
            raise GraphError(f"Autoregressive: the pixels of {base!r} come in raster order, all colours at once; got order=, adjacency=, end= or length=; leave it out")
        return base.family.of(lambda pixels: Variable(Autoregression(pixels, net), pixels.shape))
    if not isinstance(base, Variable) or base.family is None:
        raise GraphError(f"Autoregressive: expected the distribution of an element with the event's shape; got {base!r}; try dgm.Autoregressive(dgm.Bernoulli(784), net=...)")
    if not base.shape:
        raise GraphError(f"Autoregressive: expected an event with elements; got {base!r}, a single one; try {base.family_name}({'...' if base.size else '8'}{', 8' if base.size else ''})")
    if not isinstance(base.family, Family) or base.is_deterministic:
        raise GraphError(f"Autoregressive: expected a family with parameters for its elements, such as dgm.Normal(6); got {base!r}")
    if base.family.event_dim:
        raise GraphError(f"Autoregressive: {base.family_name} is a distribution of whole vectors; got {base!r}; its elements have one of their own: try dgm.Normal(...)")
    if base.parents:
        raise GraphError(f"Autoregressive: parents are given to the node, not to its elements' distribution; try Autoregressive({base.summary}, net=...).given({', '.join(map(repr, base.parents))})")
    if not base.open_parameters:
        raise GraphError(f"Autoregressive: every parameter of {base!r} is given, so nothing is left for the net to compute; leave one out")
    graph = graph_over(base.numel, adjacency)
    orders = orders_over(base.numel, order, graph)
    if (end is not None or length is not None) and (orders or graph is not None):
        raise GraphError("Autoregressive: a sequence that ends is read from its beginning; got order= or adjacency=; leave them out, or end= and length=")
    if end is not None and length is not None:
        raise GraphError("Autoregressive: expected end= or length=, not both")
    ending = None if end is None else _token(base, end)
    lengths = None if length is None else Ref(length) if isinstance(length, str) else as_expression(length)
    return Variable(Autoregression(base, net, orders, graph, ending, lengths, _source_ends(ends)), base.shape, size=base.size, labels=base.labels)


def _source_ends(ends: Any) -> tuple[tuple[str, int | Ref], ...]:
    found = [(source, Ref(end) if isinstance(end, str) else whole(end)) for source, end in (ends.items() if isinstance(ends, Mapping) else [(ends, None)])]
    for source, end in found:
        if end is None or not isinstance(source, str):
            raise GraphError(f"Autoregressive: ends: expected a token's code, or the node that holds the number of steps, by parent; got {ends!r}; try ends={{'source': 0}} or {{'source': 'n'}}")
    return tuple(found)


def _token(base: Variable, end: int | str) -> int:
    """The code of the token that ends a sequence."""
    if base.space.cardinality is None or len(base.shape) != 1:
        raise GraphError(f"Autoregressive: end= expects a sequence of tokens, such as Categorical(65, 256); got {base!r}; try length= for others")
    if isinstance(end, str):
        if base.labels is None or end not in base.labels:
            raise GraphError(f"Autoregressive: end={end!r} is no state of {base!r}{did_you_mean(end, base.labels or ())}")
        return base.labels.index(end)
    if whole(end) is None or not 0 <= end < base.space.cardinality:
        raise GraphError(f"Autoregressive: expected end= to be a token from 0 to {base.space.cardinality - 1}; got {end!r}")
    return whole(end)


@dataclass(frozen=True, repr=False)
class Autoregression(Architecture):
    """What `Autoregressive(...)` declares."""

    base: Variable
    net: CausalNet
    orders: tuple[tuple[int, ...], ...] = ()
    graph: DAG | None = None
    end: int | None = None
    length: Expression | None = None
    ends: tuple[tuple[str, int | Ref], ...] = ()

    @property
    def inner(self) -> tuple[Variable, ...]:
        lengths = [self.length, *(end for _, end in self.ends if isinstance(end, Ref))]
        return (self.base, *(Delta(v=length) for length in lengths if length is not None))

    @property
    def net_label(self) -> str:
        return self.net.label()

    def space(self, variable: Variable) -> Any:
        return self.base.space

    def summary(self, variable: Variable) -> str:
        asked = {"order": self.orders[0] if len(self.orders) == 1 else self.orders or None, "adjacency": self.graph, "end": self.end, "length": self.length, "ends": {source: end.name if isinstance(end, Ref) else end for source, end in self.ends} or None}
        return f"Autoregressive({', '.join([repr(self.base), f'net={self.net!r}', *(f'{name}={value!r}' if name != 'length' else f'length={value}' for name, value in asked.items() if value is not None)])})"

    def caption(self, variable: Variable) -> str:
        return f"Autoregressive {self.base.caption}"

    def event(self) -> Event:
        """What the network is built for."""
        space, shape = self.base.space, self.base.shape
        line = shape[: len(shape) - self.base.family.event_dim]
        outputs = [math.prod(self.base.parameter_shape(name)[len(line):]) for name in self.base.open_parameters]
        width = math.prod(space.encoded_shape(shape)[len(line):])
        states = space.cardinality if space.integer else None
        return Event(line, 1 if states else width, sum(outputs), states, self.orders, parents_in(self.graph))

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        largest = parents[self.length.name].space.cardinality if isinstance(self.length, Ref) else None
        if largest is not None and largest - 1 > self.base.shape[0]:
            raise GraphError(f"node {name!r}: its length {self.length} can be up to {largest - 1}; the event {self.base.shape} holds {self.base.shape[0]}; try {self.base.shape[0] + 1} states")
        for source, end in self.ends:
            self._check_end(name, variable, source, end, parents)
        if variable.fn is not None:
            raise GraphError(f"node {name!r}: fn= computes parameters, which {self.net.label()} does here; try .given(..., net=dgm.MLP(64)), whose output it reads")
        try:
            self.net.check(self.event())
        except ValueError as error:
            raise GraphError(f"node {name!r}: {error}") from error

    def _check_end(self, name: str, variable: Variable, source: str, end: int | Ref, parents: Mapping[str, Variable]) -> None:
        if source not in variable.parents:
            raise GraphError(f"node {name!r}: ends: expected one of the parents of .given, {list(variable.parents)}; got {source!r}{did_you_mean(source, variable.parents)}")
        parent = parents[source]
        if variable.net is not None or not parent.shape:
            why = f"{variable.net_label} reads {source!r} here" if variable.net is not None else f"{source!r} ~ {parent.summary} has no steps"
            raise GraphError(f"node {name!r}: ends: expected a sequence that {self.net.label()} reads itself; {why}; leave ends= or .given(net=...) out")
        states = parent.space.cardinality
        if not isinstance(end, Ref) and (states is None or not parent.space.integer or len(parent.shape) != 1 or not 0 <= end < states):
            raise GraphError(f"node {name!r}: ends: expected a token of {source!r} ~ {parent.summary}; got {end!r}; try ends={{{source!r}: 'n'}} with the node that holds the number of steps")

    def check_values(self, name: str, variables: Mapping[str, Variable], values: Mapping[str, Any]) -> None:
        counted = [("its length", self.length, self.base.shape), *((f"the end of {source!r}", end, variables[source].shape) for source, end in self.ends)]
        for what, length, event in counted:
            read = references(length) if isinstance(length, Expression) else ()
            if len(read) == 1 and read[0] in values:                        # of several, plates may differ
                check_lengths(name, what, str(length), event, _value_of(length, read[0], values[read[0]], len(variables[read[0]].shape)))

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> AutoregressiveConditional:
        base = Parametric(name, self.base, ports, plates=plates, all_plates=all_plates, computed_outside=True)
        readers = [port for port in ports if port.name in variable.parents]
        ended = dict(self.ends)
        event = replace(self.event(), padded=tuple(place for place, port in enumerate(readers) if port.name in ended))
        read, reader = tuple(presence_shape(name, port) if port.name in ended else port.encoded_shape for port in readers), None
        if variable.net is not None:
            read = (self.net.context_shape(event),)
            reader = network_of(name, variable.net, readers, ("context",), read, shared)
        elif any(None in shape for shape in read):
            raise GraphError(f"node {name!r}: its network reads all members of a plate, so the plate needs a size: plates={{...: dgm.Plate([...], size=8)}}")
        try:
            network = shared_module(self.net, (event, read), lambda: self.net.causal(event, read), shared)
        except ValueError as error:
            raise GraphError(f"node {name!r}: {error}") from error
        lengths = [Parametric(name, inner, ports, plates=plates, all_plates=all_plates) for inner in self.inner[1:]]
        length = None if self.length is None else lengths.pop(0)
        ends = {source: lengths.pop(0) if isinstance(end, Ref) else end for source, end in self.ends}
        return AutoregressiveConditional(name, variable, ports, base, network, reader, length, ends=ends)


def _value_of(expression: Expression, parent: str, value: Tensor, rank: int) -> Tensor:
    """An expression of one node, from its value."""
    found, _ = evaluator(expression, lambda constant: lambda: torch.tensor(constant.array, device=value.device))({parent: (value, rank)})
    return found
