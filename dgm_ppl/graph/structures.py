"""Structures of guides, cheap to faithful: what each latent's conditional reads, by choice.

A cheap structure reads less than the posterior needs, and `certify` says what it gives up and what that costs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .dag import DAG
from .elimination import eliminate
from .inversion import Inversion, invert
from .names import Names
from .templates import Factor

__all__ = ["Faithful", "Forward", "Full", "MeanField", "Structure"]


class Structure:
    """How a guide's latents depend on each other; `of` returns the inversion that says it."""

    def of(self, dag: DAG, observed: Names, deterministic: Names = (), plates: Mapping[str, Iterable[str]] | None = None,
           whole: Mapping[tuple[str, str], Iterable[Iterable[str]]] | None = None) -> Inversion:
        """Return what each latent of a model reads, for some observed nodes (arguments as for `invert`)."""
        faithful = invert(dag, observed, deterministic=deterministic, plates=plates, whole=whole)
        return self.changed(faithful)

    def changed(self, faithful: Inversion) -> Inversion:
        """Return the guide of this structure, from the faithful one."""
        return faithful


@dataclass(frozen=True)
class Faithful(Structure):
    """Every dependence of the posterior and no other: the minimal I-map that `invert` finds.

    `order` is an elimination rule, or the latents in the order in which the guide is to sample them; `"auto"` takes the cheapest.
    """

    order: Any = "auto"

    def of(self, dag: DAG, observed: Names, deterministic: Names = (), plates: Mapping[str, Iterable[str]] | None = None,
           whole: Mapping[tuple[str, str], Iterable[Iterable[str]]] | None = None) -> Inversion:
        return invert(dag, observed, order=self.order, deterministic=deterministic, plates=plates, whole=whole)


@dataclass(frozen=True)
class MeanField(Structure):
    """Latents that are independent of each other given what is observed; each reads what its own posterior depends on."""

    def changed(self, faithful: Inversion) -> Inversion:
        return _refactored(faithful, {node: _alone(faithful, node, ()) for node in faithful.order if node not in faithful.barren})


@dataclass(frozen=True)
class Forward(Structure):
    """The model's own arrows between latents, roots first; each latent reads its parents and the observed nodes that still matter.

    What it cannot express is explaining away: dependence between latents that meet in an observed descendant.
    """

    def changed(self, faithful: Inversion) -> Inversion:
        model = faithful.relevant
        latents = [node for node in model.dag.order if node in faithful.parents]
        factors = {node: _alone(faithful, node, [one for one in model.dag.parents(node) if one in faithful.parents]) for node in latents}
        return _refactored(faithful, factors)


@dataclass(frozen=True)
class Full(Structure):
    """Every latent reads everything that is known before it, over all members of all plates, and all its copies are drawn together."""

    def changed(self, faithful: Inversion) -> Inversion:
        model, before, factors = faithful.relevant, list(faithful.observed), {}
        for node in faithful.order:
            if node not in faithful.barren:
                reads = tuple(model.read(one, node, frozenset()) for one in before if one in model.dag)
                factors[node] = Factor(node, model.plates[node], reads, model.plates[node])
                before.append(node)
        return _refactored(faithful, factors)


@dataclass(frozen=True)
class _Last:
    """An elimination rule that leaves one node for the end."""

    node: str

    def allowed(self, dag: DAG, waiting: Collection[str]) -> Collection[str]:
        return [node for node in waiting if node != self.node] or waiting


def _alone(faithful: Inversion, node: str, given: Collection[str]) -> Factor:
    """What a latent's conditional reads of the observed nodes and of some others, all other latents integrated out."""
    model = faithful.relevant
    latents = [one for one in model.dag if one in faithful.parents and one not in given]
    step = eliminate(model, latents, _Last(node))[-1]
    return Factor(node, model.plates[node], step.reads)


def _refactored(faithful: Inversion, factors: Mapping[str, Factor]) -> Inversion:
    factors = {**factors, **{node: faithful.factors[node] for node in faithful.barren}}
    return faithful.with_factors(MappingProxyType(factors))
