"""What happens to each latent of a net for a pattern of observed nodes: summed out, integrated, or left to a guide; the reason and the cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..graph import GraphError
from ..network import BayesNet
from .structure import MEMORY, Block, Obstacle, Structure, kind_of

__all__ = ["LatentPlan", "Treatment", "plan_latents"]


STATES, UNKNOWNS = 16, 64                            # up to which elimination costs a training step little


@dataclass(frozen=True)
class Treatment:
    """One latent: `how` is "enumerated", "integrated", "amortized" or "dropped", `reason` says why, and `cost` what it takes for a row."""

    name: str
    how: str
    reason: str
    cost: str
    cheap: bool = True
    """Whether eliminating it costs a training step little: up to 16 states, of all finite nodes that are summed out together, or 64 unknowns."""


@dataclass(frozen=True, repr=False)
class LatentPlan:
    """The treatment of every latent, given what is observed; printed as a table.

    Latents that are enumerated or integrated need no guide: `dgm.amortize(net, observed)` leaves those out that are cheap to eliminate, `collapse=True` all of
    them, and every bound eliminates exactly what its guide leaves out.
    """

    observed: tuple[str, ...]
    latents: tuple[Treatment, ...]

    def __getitem__(self, name: str) -> Treatment:
        for treatment in self.latents:
            if treatment.name == name:
                return treatment
        raise GraphError(f"plan: {name!r} is no latent; the latents are {[treatment.name for treatment in self.latents]}")

    @property
    def enumerated(self) -> tuple[str, ...]:
        """The finite latents that are summed out."""
        return self._treated("enumerated")

    @property
    def integrated(self) -> tuple[str, ...]:
        """The Gaussian latents that are integrated in closed form."""
        return self._treated("integrated")

    @property
    def amortized(self) -> tuple[str, ...]:
        """The latents that need a guide."""
        return self._treated("amortized")

    @property
    def dropped(self) -> tuple[str, ...]:
        """The latents that nothing observed depends on."""
        return self._treated("dropped")

    @property
    def collapsed(self) -> tuple[str, ...]:
        """The latents that need no guide because they are eliminated exactly."""
        return tuple(treatment.name for treatment in self.latents if treatment.how in ("enumerated", "integrated"))

    def _treated(self, how: str) -> tuple[str, ...]:
        return tuple(treatment.name for treatment in self.latents if treatment.how == how)

    def __repr__(self) -> str:
        if not self.latents:
            return f"observed {', '.join(self.observed)}: no latents"
        rows = [("latent", "treatment", "reason", "cost a row"), *((one.name, one.how, one.reason, one.cost) for one in self.latents)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]).rstrip() for row in rows)


def plan_latents(net: BayesNet, observed: Collection[str], *, sizes: Mapping[str, int] = {}, inexact: Collection[str] = (), memory: int = MEMORY) -> LatentPlan:
    """The treatment of every latent; as many as possible are eliminated, by what the declaration says.

    Raises:
        GraphError: an unknown or deterministic node observed.
    """
    observed = (observed,) if isinstance(observed, str) else tuple(observed)
    for name in observed:
        if net[name].is_deterministic:
            raise GraphError(f"plan: node {name!r} is deterministic and cannot be observed; observe a noisy child of it instead")
    seen = [name for name in observed if not net[name].is_given]
    above = set(net.ancestors(*seen)) if seen else set()
    latents = [name for name in net.order if name not in observed and not net[name].is_given and not net[name].is_deterministic]
    relevant = [name for name in latents if name in above]
    hidden, reasons = list(relevant), {}
    structure = None
    while hidden and structure is None:
        given = [*net.inputs, *observed, *(name for name in relevant if name not in hidden)]
        try:
            structure = Structure(net, hidden, given, inexact=inexact, sizes=sizes, memory=memory)
        except Obstacle as obstacle:
            hidden.remove(obstacle.name)
            reasons[obstacle.name] = obstacle.reason
    return LatentPlan(observed, tuple(_treatment(net, name, structure, reasons, relevant) for name in latents))


def _treatment(net: BayesNet, name: str, structure: Structure | None, reasons: Mapping[str, str], relevant: Collection[str]) -> Treatment:
    if name not in relevant:
        return Treatment(name, "dropped", "nothing observed depends on it", "nothing")
    if name in reasons:
        return Treatment(name, "amortized", reasons[name], "a draw from the guide")
    if kind_of(net, name) == "finite":
        readers = [term for term in structure.terms if name in structure.scope[term] and term != name]
        states = net[name].space.cardinality
        reason = f"{states} states{_members(net, name)}, summed out of {', '.join(readers) or 'nothing else'}"
        together = math.prod(net[term].space.cardinality for term in {other for reader in readers for other in structure.scope[reader]} | {name} if kind_of(net, term) == "finite")
        return Treatment(name, "enumerated", reason, f"{states} evaluations of {', '.join(readers)}" if readers else "nothing", together <= STATES)
    block = next(block for block in structure.blocks if name in block.nodes)
    readers = [term for term in block.terms if name in structure.live[term] and term != name]
    reason = f"Gaussian{_members(net, name)}, and {_listed(readers)} linear in it"
    return Treatment(name, "integrated", reason, _solved(structure, block), structure.unknowns(block) <= UNKNOWNS)


def _members(net: BayesNet, name: str) -> str:
    plates = net.plates_of(name)
    return f" for each {' and '.join(plates)}" if plates else ""


def _listed(names: Collection[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _solved(structure: Structure, block: Block) -> str:
    unknowns, configurations = structure.unknowns(block), structure.configurations(block)
    found = f"{unknowns} unknown{'s' if unknowns > 1 else ''} solved for"
    if len(block.nodes) > 1:
        found += f" with {', '.join(block.nodes)} together"
    if block.plates:
        found += f", each member of {', '.join(sorted(block.plates))} by itself"
    return found + (f", in {configurations} configurations of {', '.join(sorted(block.scope))}" if configurations > 1 else "")
