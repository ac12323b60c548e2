"""A model and a guide held against each other for one pattern of observed nodes: which terms a bound has, and of what kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..conditionals import Conditional
from ..exact import Collapse, Given, Obstacle, hinges
from ..families import Codewords, Counts, Noise, Simplex, Space
from ..graph import GraphError, did_you_mean
from ..network import RecognitionNet
from .model import Model
from .reduction import PerWorld, Reduction, added
from .schedule import Node
from .seen_cells import SeenCells, completed_by, masks_of
from .stepping import run_chains

__all__ = ["COLLAPSED", "Pairing", "check_guide", "own_latents"]

COLLAPSED = ""                                      # no node is named so


def check_guide(model: Model, guide: Model) -> None:
    """Raises where the guide names nodes that the model lacks, or declares them otherwise."""
    for name in guide.net:
        if name not in model.net and guide.net[name].is_deterministic:
            continue                                                        # what a guide computes on the way, such as the state of a recurrent encoder
        if name in masks_of(guide).values() or name in completed_by(guide).values():
            continue
        if name not in model.net:
            raise GraphError(f"guide: the model has no node {name!r}{did_you_mean(name, model.net)}")
        ours, theirs = guide.net[name], model.net[name]
        if ours.shape != theirs.shape:
            raise GraphError(f"guide: node {name!r} has the event shape {ours.shape}; the model's has {theirs.shape}")
        if guide.net.plates_of(name) != model.net.plates_of(name):
            raise GraphError(f"guide: node {name!r} is in the plates {guide.net.plates_of(name)}; in the model it is in {model.net.plates_of(name)}")
        if ours.space.cardinality is not None and ours.space.cardinality == theirs.space.cardinality and ours.space.integer != theirs.space.integer:
            mend = f"dgm.Given({', '.join([*map(str, theirs.shape), f'space=dgm.families.{theirs.space!r}'])})" if ours.is_given else f"a {'dgm.Categorical' if theirs.space.integer else 'dgm.Bernoulli'}"
            raise GraphError(
                f"guide: node {name!r} ~ {ours.summary} holds its states as {_held(ours.space)}, the model's {theirs.summary} as {_held(theirs.space)}; in the guide declare {mend}"
            )
        if not _within(ours.space, theirs.space):
            raise GraphError(f"guide: node {name!r} ~ {ours.summary} has values in {ours.space}; the model's {theirs.summary} has values in {theirs.space}")
    for name in model.net.inputs:
        if name in guide.random:
            raise GraphError(f"guide: node {name!r} is a Given input of the model and has no posterior")
    if tuple(guide.net.plates) != tuple(model.net.plates):
        raise GraphError(
            f"guide: its plates are {list(guide.net.plates)}, the model's {list(model.net.plates)}; declare the same plates in the same order; an observed "
            f"member that the guide does not read is named as an input: dgm.Given()"
        )
    if not [name for name in guide.random if name in model.random] and not own_latents(guide):
        raise GraphError("guide: expected a distribution for at least one latent of the model; got none; try dgm.compile(dgm.amortize(net, observed=...))")


def own_latents(guide: Model) -> tuple[str, ...]:
    """The latents for which a derived guide takes the model's own conditional."""
    return guide.net.own if isinstance(guide.net, RecognitionNet) else ()


def _held(space: Space) -> str:
    return "codes (whole numbers)" if space.integer else "floats"


def _within(space: Space, other: Space) -> bool:
    """Whether the values of one space are values of another, and densities over them can be compared."""
    discrete = [isinstance(each, Counts) or each.cardinality is not None for each in (space, other)]
    if isinstance(space, Codewords) or isinstance(other, Codewords):
        return space == other
    if space.integer != other.integer or discrete[0] != discrete[1] or isinstance(space, Simplex) != isinstance(other, Simplex):
        return False
    (low, high), (least, largest) = space.bounds, other.bounds
    return least <= low and high <= largest


@dataclass(frozen=True, eq=False)
class Latent:
    """A latent's two nodes; `closed` says that KL(q || p) may replace log p - log q: p's parents are settled before it is drawn."""

    name: str
    q: Node
    p: Node
    closed: bool


def _same(q: Conditional, p: Conditional) -> bool:
    """Whether two conditionals are one, or are declared alike and have nothing to learn."""
    return q is p or (q.variable == p.variable and not [*q.parameters(), *p.parameters()])


class Pairing:
    """The order of evaluation: the guide's latents, then the model's terms.

    Latents that the guide leaves out are eliminated exactly, given what is observed and drawn: `collapse` holds the terms of the model that read
    them. `partial` names observed nodes with missing cells, which are eliminated where they are missing.

    `latents` are those that contribute to a bound: one that has the model's own conditional in the guide is drawn and contributes nothing.
    `score` are those that are not reparameterized, each with the names of the terms that its draw influences. `steps` of the model
    are nodes with what they are here: "latent", "observed", "deterministic" or "own" (drawn from the model).
    """

    def __init__(self, model: Model, guide: Model, observed: Collection[str], partial: Collection[str] = ()):
        self.model, self.guide, self.partial = model, guide, tuple(partial)
        self.data = tuple(name for name in model.random if name in observed)
        self.cells = SeenCells(model, guide, observed)
        self._check(observed)
        observed = frozenset(observed) - set(self.cells.completed_by)             # where they are missing they are latents
        self.observed = tuple(name for name in model.random if name in observed)
        self.collapse = self._collapse(observed)
        touched = frozenset() if self.collapse is None else frozenset(self.collapse.touched)
        self.touched = touched
        self.drawing = tuple(node for node in guide.schedule if node.name not in observed)
        drawn = [self._latent(node) for node in self.drawing if not node.deterministic]
        self.latents = tuple(latent for latent in drawn if not _same(latent.q.conditional, latent.p.conditional))
        kinds = {**dict.fromkeys(self.observed, "observed"), **{latent.name: "latent" for latent in drawn}}
        self.steps = tuple((node, "deterministic" if node.deterministic else kinds.get(node.name, "own")) for node in model.schedule)
        self.seen = tuple(node for node, kind in self.steps if kind == "observed" and node.name not in touched)
        self.completing = tuple(node for node, kind in self.steps if kind in ("deterministic", "own") and not self._hangs(node.name))
        self.score = tuple((latent, *self.downstream(latent)) for latent in drawn if not latent.q.conditional.reparameterized)
        self._without: set[str] = set()                                     # latents found to have no closed form
        first = self.data[0]
        self._first, self._inner = first, len(model.layout.members[first]) + len(model.layout.events[first])

    def _check(self, observed: Collection[str]) -> None:
        model, guide = self.model, self.guide
        for name in guide.net.inputs:
            if name not in (*observed, *self.cells.absent, *self.cells.inputs):
                raise GraphError(f"guide: it is given {name!r}, which the data lack; add {name!r} to the data, or derive the guide without it")
        self.cells.check(observed, self.data)
        if not self.data:
            raise GraphError(f"data: no random node of the model is observed; give data for at least one of {list(model.random)}")

    def _unguided(self, name: str, reason: str) -> GraphError:
        return GraphError(
            f"guide: the latent {name!r} has neither data nor a distribution in the guide{did_you_mean(name, self.guide.random)}, and it cannot be eliminated: {reason}; "
            f"give data for it, or derive the guide: dgm.amortize(net, observed={[n for n in self.observed]})"
        )

    def _collapse(self, observed: Collection[str]) -> Collapse | None:
        """The elimination of what the guide leaves out; None where it leaves out nothing that matters."""
        model, drawn = self.model, self.guide.random
        below = set(model.net.ancestors(*self.data))
        missing = [name for name in model.random if name in below and name not in observed and name not in drawn]
        if not missing and not set(self.partial) - set(self.cells.masks):
            return None
        for name in self.partial:
            if name in self.guide.net.inputs and name not in self.cells.masks:
                if model.net.chains:
                    raise GraphError(f"guide: it reads {name!r}, which has missing cells; derive it to know of them: dgm.amortize(net, observed={list(self.observed)}, missing={list(self.partial)})")
                whole = [n for n in self.observed if n not in self.partial]
                raise GraphError(
                    f"guide: it reads {name!r}, which has missing cells; derive it to read values and holes, for whatever cells are there: "
                    f"dgm.amortize(net, observed=dgm.AnySubset({' '.join(self.observed)!r}))"
                    + (f"; or without: dgm.amortize(net, observed={whole}, collapse=True)" if whole else "")
                )
        holed = [name for name in self.partial if hinges(model, name, {*observed, *drawn})]
        given = [name for name in (*model.net.inputs, *model.random) if name not in missing and name not in holed and (name in observed or name in drawn)]
        try:
            return Collapse(model, [*missing, *holed], given, counted=self.partial)
        except Obstacle as obstacle:
            if obstacle.name in missing:
                raise self._unguided(obstacle.name, obstacle.reason) from obstacle
            raise GraphError(
                f"data: node {obstacle.name!r} has missing cells, and it cannot be eliminated where it is missing: {obstacle.reason}; drop the rows or fill them in"
            ) from obstacle

    def _hangs(self, name: str) -> bool:
        """Whether a node's value depends on one that is eliminated, so that it has none."""
        return self.collapse is not None and bool({name, *self.model.net.ancestors(name)} & set(self.collapse.structure.hidden))

    def _latent(self, node: Node) -> Latent:
        later = {node.name, *self.guide.net.dag.descendants(node.name)}     # what lies some steps back was drawn before, in a chain of either net
        later |= {name for name in self.guide.net.descendants(node.name) if self.guide.net.chain_of(name) is None}
        above = set(self.model.net.ancestors(node.name))                # through deterministic nodes as well
        p = next(step for step in self.model.schedule if step.name == node.name)
        backwards = any(lagged.steps < 0 for name in self.guide.random for lagged in self.guide.net[name].lags)     # then what lies back was not drawn before
        reached = set(p.parents if backwards else p.now) | {name for name in above if self._deterministic_path(name, p)}
        together = next(names for names, _ in self.guide.segments({}) if node.name in names)
        beyond = set(self.guide.net.descendants(node.name)) - set(together)     # drawn after all steps of the latent
        return Latent(node.name, node, p, closed=not (reached & later or (reached | set(p.parents)) & beyond))

    def _deterministic_path(self, name: str, p: Node) -> bool:
        """Whether `name` reaches the node's parents through deterministic nodes alone."""
        dag, functions = self.model.net.dag, set(self.model.net.deterministic)
        frontier = [parent for parent in p.now if parent in functions]
        while frontier:
            parents = dag.parents(frontier.pop())
            if name in parents:
                return True
            frontier += [parent for parent in parents if parent in functions]
        return False

    # ---- which terms a draw influences

    def downstream(self, latent: Latent) -> tuple[frozenset[str], frozenset[str]]:
        """The latents whose log q, and the nodes whose log p, depend on a latent's draw; the elimination counts as one, `COLLAPSED`."""
        reached = {latent.name, *self.guide.net.descendants(latent.name)}
        for node, kind in self.steps:                                       # what is computed or drawn from them depends on them too
            if kind in ("deterministic", "own") and reached & set(node.parents):
                reached.add(node.name)
        guide = frozenset(other.name for other in self.latents if other.name in reached)
        model = frozenset(node.name for node, kind in self.steps if kind in ("latent", "observed") and reached & {node.name, *node.parents})
        if any(reached & {node.name, *node.parents} for node, _ in self.steps if node.name in self.touched):
            model |= {COLLAPSED}
        return guide, model

    # ---- evaluation

    def collapsed(self, found: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], holes: Mapping[str, Tensor]) -> Tensor:
        """-log of the sum and integral over what is eliminated, given the other nodes' values, `(*worlds)`."""
        return -self.collapse.log_evidence(Given(found, tuple(worlds), sizes, holes)).to(self.model.anchor.dtype)

    def worlds(self, batch: Mapping[str, Tensor]) -> tuple[int, ...]:
        """The leading dimensions of checked data."""
        shape = batch[self._first].shape
        return tuple(shape[: len(shape) - self._inner])

    def dreamt(self, drawn: Mapping[str, Tensor], holes: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """A draw of all nodes from the model as `reread` takes it: of cells that are missing in the data the guide sees nothing."""
        seen = self.cells.masked(drawn, holes, worlds, sizes) if self.cells.masks else {}
        return {**self.settled(drawn), **{name: seen[name] for name in self.cells.told}}

    def draw(self, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], noise: Noise) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Every node's aligned value, latents drawn from the guide, and what the guide's conditionals were prepared with."""
        masks = self.cells.masks
        if masks and not values.keys() >= {*masks.values()}:
            values = self.cells.masked(values, {}, worlds, sizes)
        found, prepared = dict(values), {}
        if self.model.net.chains:
            found = run_chains(self.guide, {name: value for name, value in values.items() if name in self.guide.layout.members}, worlds, sizes, noise, prepared)
            prepared |= {node.name: node.prepare(found) for node in self.drawing if not (node.deterministic or node.name in prepared)}
            known = {**values, **{name: value for name, value in found.items() if name in self.model.net}}
            return self.model.run({name: value for name, value in known.items() if name not in self.cells.blanks}, worlds, sizes, noise), prepared
        for node in self.drawing:
            if node.deterministic:
                found[node.name] = self.guide.compute(node, found, sizes)
            else:
                prepared[node.name] = here = node.prepare(found)
                found[node.name] = self.guide.draw(node, here, worlds, sizes, noise)
        return self.extended(found, worlds, sizes, noise), prepared

    def reread(self, values: Mapping[str, Tensor], sizes: Mapping[str, int]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the guide computes, and what its conditionals are prepared with, where its latents have values already."""
        if self.model.net.chains:
            blanks = {name: self.model.net[name].space.example(values[self.cells.masks[name]].shape, self.model.anchor) for name in self.cells.blanks}
            found = self.guide.determined({name: value for name, value in {**values, **blanks}.items() if name in self.guide.layout.members}, sizes)
            return {**values, **{name: value for name, value in found.items() if name not in blanks}}, {node.name: node.prepare(found) for node in self.drawing if not node.deterministic}
        found, prepared = dict(values), {}
        for node in self.drawing:
            if node.deterministic:
                found[node.name] = self.guide.compute(node, found, sizes)
            else:
                prepared[node.name] = node.prepare(found)
        return found, prepared

    def extended(self, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], noise: Noise) -> dict[str, Tensor]:
        """Every node's value where the latents that the guide draws have theirs: what the model computes, and draws where it has none."""
        if self.model.net.chains:
            return {**values, **self.model.run(self.settled(values), worlds, sizes, noise)}
        found = dict(values)
        for node in self.completing:
            if node.deterministic:
                found[node.name] = self.model.compute(node, found, sizes)
            else:
                found[node.name] = self.model.draw(node, node.prepare(found), worlds, sizes, noise)
        return found

    def settled(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values of what is observed, given or drawn from the guide, without what follows from them."""
        drawn = {node.name for node in self.drawing if not node.deterministic}
        computed = {node.name for node, kind in self.steps if kind in ("deterministic", "own")} | {node.name for node in self.drawing if node.deterministic}
        return {name: value for name, value in values.items() if name in drawn or name not in computed}

    def guide_terms(self, found: Mapping[str, Tensor], prepared: Mapping[str, Any], reduce: Reduction) -> Tensor:
        """-log q of all latents that contribute to a bound."""
        return added([self.guide_term(latent, found, prepared, reduce) for latent in self.latents])

    def completed(self, found: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], noise: Noise) -> dict[str, Tensor]:
        """The values with a draw of what was eliminated, exact given the others, and of what hangs on it; aligned."""
        if self.collapse is None:
            return dict(found)
        drawn = self.collapse.sample(Given(found, tuple(worlds), sizes), 1)
        every = {**found, **{name: value.squeeze(0) for name, value in drawn.items()}}
        for node in self.model.schedule:
            if node.name not in every:
                every[node.name] = self.model.compute(node, every, sizes) if node.deterministic else self.model.draw(node, node.prepare(every), worlds, sizes, noise)
        return every

    def log_weights(
        self, found: Mapping[str, Tensor], prepared: Mapping[str, Any], worlds: Sequence[int], sizes: Mapping[str, int] = {}, holes: Mapping[str, Tensor] = {},
    ) -> Tensor:
        """log p(x, z) - log q(z | x) of each of the worlds of a draw."""
        per_world = PerWorld()
        nodes = (*self.seen, *(latent.p for latent in self.latents if latent.name not in self.touched))
        terms = [self.model_term(node, found, per_world) for node in nodes]
        if self.collapse is not None:
            terms.append(self.collapsed(found, worlds, sizes, holes))
        total = -added(terms)
        for latent in self.latents:
            total = total + self.guide_term(latent, found, prepared, per_world)
        return total.expand(tuple(worlds))                                  # without latents the terms lack the particles

    def model_term(self, node: Node, found: Mapping[str, Tensor], reduce: Reduction) -> Tensor:
        """-log p of a node given its parents."""
        value = found[node.name]
        term = node.conditional.surprisals(value, node.prepare(found))
        if node.name in self.cells.masks and node.name not in self.cells.completed_by:
            term = self.cells.counted(node, term, found)
        return reduce(node, term, value)

    def guide_term(self, latent: Latent, found: Mapping[str, Tensor], prepared: Mapping[str, Any], reduce: Reduction) -> Tensor:
        """-log q of a latent given its parents in the guide."""
        value = found[latent.name]
        return reduce(latent.q, latent.q.conditional.surprisals(value, prepared[latent.name]), value)

    def divergence(
        self, latent: Latent, found: Mapping[str, Tensor], prepared: Mapping[str, Any], reduce: Reduction, closed_form: bool = True,
    ) -> tuple[list[Tensor], bool]:
        """Terms that add up to KL(q || p) of a latent given what was drawn before it, and whether it is in closed form; else log q - log p of the draw.

        Of a latent that reads what is eliminated, -log p is part of the elimination and left out here.
        """
        if latent.name in self.touched:
            return [-self.guide_term(latent, found, prepared, reduce)], False
        if latent.closed and closed_form and latent.name not in self._without:
            term = latent.q.conditional.divergences(prepared[latent.name], latent.p.conditional, latent.p.prepare(found))
            if term is not None:
                return [reduce(latent.p, term, found[latent.name])], True
            self._without.add(latent.name)
        p, q = self.model_term(latent.p, found, reduce), self.guide_term(latent, found, prepared, reduce)
        return [p - q] if p.shape == q.shape else [p, -q], False
