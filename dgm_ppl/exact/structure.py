"""What has to be done to sum and integrate some nodes of a net out exactly, the others being given: read off the declaration alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..families.affine import GAUSSIAN, nonlinearity
from ..graph import GraphError
from ..network import BayesNet
from .factors import Compiled
from .plated import Schedule, Shape, Tangle

__all__ = ["Block", "Obstacle", "Structure", "hinges", "kind_of"]

MEMORY = 2**31                                      # bytes that one row may take


class Obstacle(GraphError):
    """A node that cannot be eliminated, and why."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"node {name!r} cannot be eliminated exactly: {reason}")
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class Block:
    """Hidden Gaussian nodes that are integrated together.

    `terms` are the nodes whose densities read them, their own among these; `scope` the finite nodes that those densities depend on, and `plates` those
    over whose members the integral repeats.
    """

    nodes: tuple[str, ...]
    terms: tuple[str, ...]
    scope: frozenset[str]
    plates: frozenset[str]


def kind_of(net: BayesNet, name: str) -> str | None:
    """Whether a random node is "finite" (one value of few), "gaussian", or neither."""
    variable = net[name]
    if variable.space.cardinality is not None:
        return None if variable.shape else "finite"
    return "gaussian" if variable.family in GAUSSIAN else None


def hinges(model: Compiled, name: str, given: Collection[str]) -> bool:
    """Whether a given node with missing cells has to be eliminated there: something given depends on it, or its elements hang together.

    Otherwise the terms of missing cells integrate to one and are left out.
    """
    below = any(child in given for child in model.net.descendants(name))
    return below or len(model.net[name].shape) > model.conditionals[name].elements


class Structure:
    """The factors over hidden nodes, those of Gaussian ones in blocks, and the order in which sums are taken.

    Args:
        hidden: random nodes to eliminate; of the others, those in `given` have values.
        counted: given nodes whose densities are counted here whatever they read.
        inexact: nodes that have no exact density, which nothing hidden may be read by.
        keep: hidden finite nodes that are not summed out.
        sizes: of plates, for the cost.

    Raises:
        Obstacle: a node that cannot be eliminated, with the reason.
    """

    def __init__(
        self, net: BayesNet, hidden: Collection[str], given: Collection[str], *,
        counted: Collection[str] = (), inexact: Collection[str] = (), keep: Collection[str] = (), sizes: Mapping[str, int] = {}, memory: int = MEMORY,
    ):
        self.net, self.sizes, self.memory = net, {plate.name: plate.size or 1 for plate in net.plates.values()} | dict(sizes), memory
        self.hidden = tuple(name for name in net.order if name in hidden)
        if net.chains and self.hidden:
            raise Obstacle(self.hidden[0], f"the net has the chain {net.chains[0]!r}, whose steps depend on each other, and is eliminated whole, without a guide")
        kinds = {name: kind_of(net, name) for name in self.hidden}
        for name, kind in kinds.items():
            if kind is None:
                raise Obstacle(name, f"{net[name].summary} is neither a single finite value nor Gaussian")
        self.finite = tuple(name for name in self.hidden if kinds[name] == "finite")
        self.gaussian = tuple(name for name in self.hidden if kinds[name] == "gaussian")
        self.random = tuple(name for name in net.order if (name in hidden or name in given) and not net[name].is_given and not net[name].is_deterministic)
        self._reach()
        for name in inexact:
            hidden = sorted(self.scope[name] | self.live[name], key=net.order.index) if name in self.random else ()
            if hidden:
                raise Obstacle(hidden[0], f"{name!r} depends on it, and has no exact density" if name != hidden[0] else "it has no exact density")
        self._check_linear()
        self._check_members()
        self.terms = tuple(name for name in self.random if self.scope[name] or self.live[name] or name in counted)
        self.blocks = self._blocks()
        self.factors = tuple(name for name in self.terms if not self.live[name])
        self._check_blocks()
        self.schedule = self._schedule(keep)

    # ---- what depends on what

    def _reach(self) -> None:
        """For each node the hidden finite and Gaussian ones that its density, or its value, depends on; its own included."""
        self.scope: dict[str, frozenset[str]] = {}
        self.live: dict[str, frozenset[str]] = {}
        seen_finite: dict[str, frozenset[str]] = {}
        seen_live: dict[str, frozenset[str]] = {}
        for name in self.net.order:
            parents = self.net[name].all_parents
            finite, live = (frozenset().union(*(seen.get(parent, frozenset()) for parent in parents)) for seen in (seen_finite, seen_live))
            own_finite, own_live = (frozenset({name}) if name in group else frozenset() for group in (self.finite, self.gaussian))
            self.scope[name], self.live[name] = finite | own_finite, live | own_live
            if self.net[name].is_deterministic:
                seen_finite[name], seen_live[name] = finite, live
            else:
                seen_finite[name], seen_live[name] = own_finite, own_live

    def _check_linear(self) -> None:
        """Every density that reads a hidden Gaussian is Gaussian with a location linear in it, through deterministic nodes too."""
        for name in self.net.order:
            variable = self.net[name]
            above = [parent for parent in variable.all_parents if self._moves(parent)]
            if not above or not (name in self.random or variable.is_deterministic and self._read(name)):
                continue
            for parent in [*above, None]:                                   # each alone first, so that the error names one; then together
                reason = nonlinearity(variable, above if parent is None else [parent])
                if reason is not None:
                    culprit = sorted(self._source(parent or above[0]), key=self.net.order.index)[0]
                    raise Obstacle(culprit, f"{name!r} depends on it, and {reason}" if name != culprit else reason)

    def _moves(self, name: str) -> bool:
        return name in self.gaussian or self.net[name].is_deterministic and bool(self.live[name])

    def _source(self, name: str) -> frozenset[str]:
        return frozenset({name}) if name in self.gaussian else self.live[name]

    def _read(self, name: str) -> bool:
        """Whether some density reads a deterministic node."""
        return any(below in self.random for below in self.net.descendants(name))

    def _check_members(self) -> None:
        """A density that reads all members of a plate of a finite node takes every combination of their states."""
        for name in (*self.random, *(one for one in self.net.deterministic if self._read(one))):
            for source in self.scope[name] - {name}:
                pooled = [plate for plate in self.net.plates_of(source) if plate not in self.net.plates_of(name)]
                if pooled:
                    raise Obstacle(source, f"{name!r} reads its values of all members of the plate {pooled[0]!r}, whose states would have to be combined")

    # ---- Gaussian blocks

    def _blocks(self) -> tuple[Block, ...]:
        groups: list[tuple[set[str], set[str]]] = []
        for name in self.terms:
            if self.live[name]:
                touching = [group for group in groups if group[0] & self.live[name]]
                groups = [group for group in groups if group not in touching]
                groups.append((set(self.live[name]).union(*(nodes for nodes, _ in touching)), {name}.union(*(terms for _, terms in touching))))
        return tuple(self._block(nodes, terms) for nodes, terms in groups)

    def _block(self, nodes: set[str], terms: set[str]) -> Block:
        plates = frozenset(self.net.plates).intersection(*(self.net.plates_of(name) for name in nodes | terms))
        scope = frozenset().union(*(self.scope[name] for name in terms))
        order = self.net.order
        return Block(tuple(sorted(nodes, key=order.index)), tuple(sorted(terms, key=order.index)), scope, plates)

    def _check_blocks(self) -> None:
        for block in self.blocks:
            for name in sorted(block.scope):
                beyond = [plate for plate in self.net.plates_of(name) if plate not in block.plates]
                if beyond:
                    outer = [node for node in block.nodes if beyond[0] not in self.net.plates_of(node)]
                    raise Obstacle(
                        (outer or block.nodes)[0],
                        f"{name!r}, which is summed out, has {self.net[name].space.cardinality} states for each member of the plate {beyond[0]!r}, and "
                        f"all their combinations would have to be integrated",
                    )
            needed = self.cells(block) * 8
            if needed > self.memory:
                culprit = max(block.scope, key=lambda name: self.net[name].space.cardinality) if block.scope else block.nodes[0]
                raise Obstacle(
                    culprit, f"{len(block.nodes)} Gaussian nodes ({', '.join(block.nodes[:6])}{', ...' if len(block.nodes) > 6 else ''}) have "
                    f"{self.unknowns(block):,} unknowns, to be solved for in each of {self.configurations(block):,} configurations of "
                    f"{', '.join(sorted(block.scope)) or 'nothing'}: {needed / 2**20:,.0f} MiB a row; allowed are {self.memory / 2**20:,.0f}"
                )

    def unknowns(self, block: Block) -> int:
        """The coordinates of a block's nodes, for each member of its plates."""
        return sum(self.coordinates(name, block) for name in block.nodes)

    def coordinates(self, name: str, block: Block) -> int:
        """The numbers that one node brings in."""
        return math.prod(self.sizes[plate] for plate in self.net.plates_of(name) if plate not in block.plates) * self.net[name].numel

    def configurations(self, block: Block) -> int:
        """The joint states of the finite nodes that a block depends on."""
        return math.prod(self.net[name].space.cardinality for name in block.scope)

    def cells(self, block: Block) -> int:
        """Numbers held for one row."""
        unknowns, rows = self.unknowns(block), max(self.coordinates(name, block) for name in block.terms)
        return self.configurations(block) * unknowns * (unknowns + rows) * math.prod(self.sizes[plate] for plate in block.plates)

    # ---- sums

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """What each factor depends on: those of single densities first, then those of blocks."""
        single = [Shape(self.scope[name], frozenset(self.net.plates_of(name))) for name in self.factors]
        return tuple(single + [Shape(block.scope, block.plates) for block in self.blocks])

    def _schedule(self, keep: Collection[str]) -> Schedule:
        cards = {name: self.net[name].space.cardinality for name in self.finite}
        plates = {name: frozenset(self.net.plates_of(name)) for name in self.finite}
        try:
            schedule = Schedule(self.shapes, cards, plates, keep=keep, sizes=self.sizes)
        except Tangle as tangle:
            raise Obstacle(self.finite[0], str(tangle)) from tangle
        needed = schedule.largest * 8
        if needed > self.memory:
            culprit = max(schedule.widest, key=lambda name: (cards[name], name))
            raise Obstacle(
                culprit, f"summing it out takes {schedule.largest:.3g} joint states of {len(schedule.widest)} nodes ({', '.join(schedule.widest[:6])}"
                f"{', ...' if len(schedule.widest) > 6 else ''}) at once, {needed / 2**20:,.0f} MiB a row; allowed are {self.memory / 2**20:,.0f}"
            )
        return schedule
