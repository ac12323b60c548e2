"""In which order a guide over chains draws its latents, and what each of them then has to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from typing import Any

from ..graph import Faithful, Full, GraphError, MeanField, MinFill, Reverse, Structure, Topological
from ..graph.sequences import Sight, sight
from ..graph.structures import Forward
from ..network import BayesNet, random_templates
from ..network.unrolling import at_step

__all__ = ["Passes", "Unrolled", "View", "views_of"]


@dataclass(frozen=True)
class Passes:
    """In which order a guide draws: groups of latents, those of a group together, step by step, from the start (1) or from the end (-1)."""

    groups: tuple[tuple[str, ...], ...]
    direction: int


@dataclass(frozen=True)
class View:
    """What a latent reads, which nodes without steps are known by then, and the plates over which its copies depend on each other nevertheless."""

    sight: Sight
    settled: tuple[str, ...]
    coupled: tuple[str, ...]


def views_of(unrolled: Unrolled, structure: Structure, order: Any) -> dict[str, View]:
    """What each latent reads, in the order in which they are drawn: of those that are tried, the first with the fewest latents whose copies stay coupled.

    Raises:
        GraphError: an order of other names.
    """
    tried = []
    for passes in _candidates(unrolled.model, unrolled.latents, structure.order if isinstance(structure, Faithful) else order):
        tried.append({latent: unrolled.view(passes, latent, structure) for group in passes.groups for latent in group})
        if not _coupled(tried[-1]):
            break
    return min(tried, key=_coupled)


def _coupled(views: dict[str, View]) -> int:
    return sum(bool(view.coupled) for view in views.values())


MOST = 24
"""So many orders of groups are tried where copies stay coupled."""


def _candidates(model: BayesNet, latents: tuple[str, ...], asked: Any) -> Iterator[Passes]:
    """The order that was asked for, or, where that is left open, one after the other, from the global to the local first."""
    static = [name for name in latents if model.chain_of(name) is None]
    backwards = isinstance(asked, Topological)
    if backwards or isinstance(asked, (MinFill, Reverse)) or isinstance(asked, str) and asked == "auto":
        groups = _outer_first(model, _grouped(model, [*static, *(latents[::-1] if backwards else latents)]))
        tried = permutations(groups) if len(model.plates) > len(model.chains) else (groups,)
        yield from (Passes(tuple(one), -1 if backwards else 1) for one in islice(tried, MOST))
    else:
        named = (asked,) if isinstance(asked, str) else tuple(asked) if isinstance(asked, Iterable) else ()
        if sorted(named) != sorted(latents):
            raise GraphError(
                f"amortize: order: over a chain expected the latents of a step in the order in which they are drawn, such as {list(latents)}, or dgm_ppl.graph.Reverse() (steps from the "
                f"start) or dgm_ppl.graph.Topological() (steps from the end); got {asked!r}"
            )
        yield Passes(_grouped(model, named), 1)


def _grouped(model: BayesNet, latents: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Latents in order, once each, those of a chain that are in the same plates together."""
    groups: dict[Any, dict[str, None]] = {}
    for name in latents:
        chain = model.chain_of(name)
        groups.setdefault((name,) if chain is None else (chain.name, model.plates_of(name)), {})[name] = None
    return tuple(map(tuple, groups.values()))


def _outer_first(model: BayesNet, groups: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Groups of a chain in fewer plates before those in more; nodes without steps first, as they are."""
    return tuple(sorted(groups, key=lambda group: 0 if model.chain_of(group[0]) is None else len(model.plates_of(group[0]))))


class Unrolled:
    """A model over enough steps to tell what a latent reads in the middle, each plate with two members."""

    def __init__(self, model: BayesNet, observed: Sequence[str], latents: tuple[str, ...]):
        self.model, self.latents, self.reach = model, latents, _reach(model)
        self.middle = self.reach + 2
        self.steps = range(2 * self.middle + 1)
        left = [name for name in model if name not in latents and name not in observed and not model[name].is_deterministic]
        self.templates = random_templates(model, len(self.steps), left)
        self.dag = self.templates.ground()
        kept = [name for name in model if name not in left and not model[name].is_deterministic]
        self.at = {at_step(name, step): (name, step) for name in kept if model.chain_of(name) is not None for step in self.steps}
        self.at |= {name: (name, None) for name in kept if model.chain_of(name) is None}
        self.places = {copy: place for name, place in self.at.items() for copy in self.templates.copies(name)}
        self.observed = [name for name in kept if name in observed]
        self.members = {copy: places for name in self.templates.dag for copy, places in zip(self.templates.copies(name), self.templates.members(name))}

    def copies(self, name: str, step: int | None) -> tuple[str, ...]:
        """All copies of a node at a step."""
        return self.templates.copies(name if step is None else at_step(name, step))

    def view(self, passes: Passes, latent: str, structure: Structure) -> View:
        """What a latent reads where it is drawn after those before it."""
        model, chain, position = self.model, self.model.chain_of(latent), next(i for i, group in enumerate(passes.groups) if latent in group)
        group, earlier = passes.groups[position], {name for one in passes.groups[:position] for name in one}
        here, *others = self.copies(latent, None if chain is None else self.middle)
        known = [copy for copy, (name, step) in self.places.items() if name in earlier]
        if chain is not None:
            known += [copy for name in group for step in self.steps if (step - self.middle) * passes.direction < 0 for copy in self.copies(name, step)]
            known += [copy for name in group[: group.index(latent)] for copy in self.copies(name, self.middle)]
        if isinstance(structure, MeanField):
            known = []
        elif isinstance(structure, Forward):
            known = [copy for copy in known if copy in self.dag.parents(here)]
        known += [copy for copy, (name, _) in self.places.items() if name in self.observed]
        apart = {copy: frozenset(plate for plate, at in self.members[here].items() if self.members[copy].get(plate, at) != at) for copy in (*known, *others)}
        cheaper = isinstance(structure, (MeanField, Forward))               # draws copies apart, whatever they depend on
        coupled = {plate for copy in others if not cheaper and not self.dag.independent(here, copy, given=known) for plate in apart[copy]}
        seen = sight(
            self.dag, self.places, here, known, reach=self.reach, along=() if chain is None else chain.nodes, drawn=self.latents, together=[copy for copy in others if apart[copy] <= coupled],
            apart=apart, all_known=isinstance(structure, Full))
        settled = tuple(dict.fromkeys(self.places[copy][0] for copy in known if self.places[copy][1] is None))
        return View(seen, settled, tuple(plate for plate in model.plates if plate in coupled))

    def apart_by_step(self, plate: str, settled: Sequence[str]) -> bool:
        """Whether no arrow joins members of a plate at one step to members at another, those of known nodes without steps left aside."""
        inside = {name: step for name, (node, step) in self.at.items() if plate in self.templates.plates[name] and node not in settled}
        return all(inside[parent] == inside[child] for parent, child in self.templates.dag.edges if parent in inside and child in inside)


def _reach(model: BayesNet) -> int:
    """How many steps the model's longest arrow goes, there and back."""
    lags = [abs(lagged.steps) for name in model for one in (model[name], *model[name].starts) for lagged in one.lags]
    return 2 * max(lags, default=1)
