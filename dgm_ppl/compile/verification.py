"""Declared is actual: the compiled conditionals held against the arrows of the graph.

Every conditional is evaluated on complete values, which are then changed one cell at a time. What it makes of them may change
with its own value and its parents', in the same world and the same member of a plate, and with nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor, nn

from ..families import Architecture
from ..graph import GraphError
from .ordering import MOST, disorder
from .probing import Probe, differs, undisturbed

if TYPE_CHECKING:
    from .model import Model
    from .schedule import Node

__all__ = ["Finding", "StructureReport", "verify_structure"]

WORLDS = 24


@dataclass(frozen=True)
class Finding:
    """Something that a conditional does; `wrong` where the graph says that it does not."""

    node: str
    text: str
    wrong: bool = True

    def __str__(self) -> str:
        return f"node {self.node!r} {self.text}"


@dataclass(frozen=True, repr=False)
class StructureReport:
    """Whether a model's conditionals do what its graph declares; print it to read it."""

    nodes: int
    arrows: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the graph."""
        return not self.wrong

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What contradicts the graph."""
        return tuple(one for one in self.findings if one.wrong)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What does not contradict it, but should be known: parents without influence, tensors from outside."""
        return tuple(one for one in self.findings if not one.wrong)

    def require(self) -> None:
        """Raise `GraphError` where something contradicts the graph."""
        if self.wrong:
            raise GraphError(str(self))

    def __str__(self) -> str:
        head = "every conditional depends on its parents alone" if self.ok else "the conditionals are not what the graph declares"
        notes = [f"  note: {one}" for one in self.notes]
        return "\n".join([f"{head} ({self.nodes} nodes, {self.arrows} arrow{'s' * (self.arrows != 1)})", *(f"  {one}" for one in self.wrong), *notes])

    __repr__ = __str__


def verify_structure(model: Model, data: Mapping[str, Any] | None = None, *, worlds: int = WORLDS) -> StructureReport:
    """Hold the compiled conditionals of a model against its graph.

    Reported as wrong: a conditional that depends on a node which is no parent, that mixes worlds or members of a plate (as batch
    normalisation does while training), that depends on the place of a row (as a function does that reads a tensor from
    outside row by row), that changes a parent's value in place, that gives another answer when it is asked again, or whose elements
    (of an autoregressive event, of a flow) depend on each other in another order than it says. Noted: a
    parent without influence, random networks (dropout), and tensors or modules that a function reads from outside.

    Arguments:
        model: a compiled net or guide, in the mode in which it is verified: `model.eval()` for that of use.
        data: values for the inputs, and for other nodes if you like; the rest is drawn, and without data so are the inputs.
        worlds: the number of rows, where data do not tell.

    >>> import dgm_ppl as dgm
    >>> net = dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(3).given("z", net=dgm.MLP(8)))
    >>> verify_structure(dgm.compile(net, seed=0))
    every conditional depends on its parents alone (2 nodes, 1 arrow)
    """
    if model.net.chains:                                                    # over the steps written out, where each is a node
        steps = 2 + max((lagged.steps for variable in model.net.variables.values() for lagged in variable.lags), default=0)
        return verify_structure(model.unroll(steps), worlds=worlds)
    with undisturbed(model):
        torch.manual_seed(0)
        probe = Probe.of(model, data or {}, worlds)
        findings = [*_repetition(probe), *_in_place(probe), *_influences(probe), *_places(probe), *_orders(probe), *_outside(model)]
    return StructureReport(len(model.net), len(model.net.dag.edges), tuple(findings))


def _repetition(probe: Probe) -> Iterator[Finding]:
    first, again, reseeded = probe.terms(probe.values), probe.terms(probe.values), probe.terms(probe.values, seed=1)
    for name in first:
        if differs(first[name], again[name]).any():
            yield Finding(name, "gives another answer when it is asked again: it depends on something that changes; try a function of its parents")
        elif differs(first[name], reseeded[name]).any() and probe.model.conditionals[name].density == "exact":
            yield Finding(name, "draws random numbers (dropout?); model.eval() is what is used after training", wrong=False)


def _in_place(probe: Probe) -> Iterator[Finding]:
    values = {name: value.clone() for name, value in probe.values.items()}
    for node in probe.model.schedule:
        before = {parent: values[parent]._version for parent in node.parents}
        probe.term(node, values)
        for parent, version in before.items():
            if values[parent]._version != version:
                yield Finding(node.name, f"changes the value of its parent {parent!r} in place; try {parent}.clone() first")


def _influences(probe: Probe) -> Iterator[Finding]:
    base = probe.terms(probe.values)
    for name in probe.model.net:
        terms = next((probe.terms(changed) for changed in probe.changed(name, probe.cell(name))), base)
        quiet = []
        for node in probe.model.schedule:
            moved = differs(base[node.name], terms[node.name], node.conditional.accuracy)
            if moved.any():
                yield from _judged(probe, node, name, moved)
            elif name in node.parents:
                quiet.append(node)
        yield from _silent(probe, name, quiet, base)


def _silent(probe: Probe, name: str, children: Sequence[Node], base: Mapping[str, Tensor]) -> Iterator[Finding]:
    """The children that take no notice of a parent, whatever it is changed to."""
    for changed in probe.changed(name):
        children = [node for node in children if not differs(base[node.name], probe.seeded_term(node, changed)).any()]
    for node in children:
        yield Finding(node.name, f"has the parent {name!r}, which has no influence on it here", wrong=False)


def _judged(probe: Probe, node: Node, name: str, moved: Tensor) -> Iterator[Finding]:
    """What a change of one cell of `name` says, given where the node's term moved."""
    if name not in (node.name, *node.parents):
        yield Finding(node.name, f"depends on {name!r}, which is no parent; try .given({name!r}, ...)")
        return
    whose = "other rows" if name == node.name else f"other rows of {name!r}"
    if moved[1:].any():
        yield Finding(node.name, f"depends on {whose}: worlds are independent; try LayerNorm for BatchNorm, or model.eval()")
    for plate, axis in _shared(probe, node.name, name):
        if plate not in _read_whole(node, name) and moved.movedim(axis, 0)[1:].any():
            yield Finding(node.name, f"depends on other members of plate {plate!r} through {name!r}, which is inside it; "
                                     f"try a parent outside the plate, or a function of one member")


def _read_whole(node: Node, name: str) -> set[str]:
    """The plates over which a node reads all members of a parent though it is in them, or draws its own copies together."""
    variable = node.conditional.variable
    together = variable.family.coupled if isinstance(variable.family, Architecture) else ()
    return {*together, *(plate for plates in variable.shared_plates(name) for plate in plates)}


def _shared(probe: Probe, *names: str) -> list[tuple[str, int]]:
    """The plates that all these nodes are in, and their axes in a batch."""
    members = [set(probe.model.layout.members[name]) for name in names]
    return [(plate, 1 + place) for place, plate in enumerate(probe.model.net.plates) if all(place in one for one in members)]


def _places(probe: Probe) -> Iterator[Finding]:
    base = probe.terms(probe.values)
    random = {name for name, term in probe.terms(probe.values, seed=1).items() if differs(base[name], term).any()}
    rolled = probe.terms({name: value.roll(1, 0) for name, value in probe.values.items()})
    for name, term in rolled.items():
        if name not in random and differs(base[name].roll(1, 0), term, probe.model.conditionals[name].accuracy).any():
            yield Finding(name, "depends on the place of a row: it reads something beside its parents; try making that a node, dgm.Given()")


def _orders(probe: Probe) -> Iterator[Finding]:
    for node in probe.model.schedule:
        yield from (Finding(node.name, text) for text in disorder(probe, node))
        adjacency = node.conditional.event_adjacency
        if adjacency is not None and len(adjacency) > MOST:
            yield Finding(node.name, f"has {len(adjacency)} elements, {MOST} of which were held against their order", wrong=False)


def _outside(model: Model) -> Iterator[Finding]:
    for node in model.schedule:
        for name, value in _held(node.conditional.variable.fn):
            yield Finding(node.name, f"has a function that reads {name!r} ({type(value).__name__}) from outside: it is not saved, moved or "
                                     f"trained with the model; try an nn.Module as net", wrong=False)


def _held(function: object) -> list[tuple[str, object]]:
    if not inspect.isfunction(function):
        return []
    read = inspect.getclosurevars(function)
    return [(name, value) for name, value in {**read.globals, **read.nonlocals}.items() if isinstance(value, (Tensor, nn.Module, numpy.ndarray))]
