"""Faithful inversion: the graph of a guide that can represent the model's posterior, and has no needless arrow.

Latents without an observed descendant are set aside: they take the model's own conditionals. The others are eliminated
one by one from the moral graph of what is left; what a latent is joined to when it goes is what its posterior needs
(Webb et al., 2018, https://arxiv.org/abs/1712.00287). After the setting aside, every order of elimination gives a
minimal I-map of the posterior, so the order is a free choice of cost. With plates, all copies of a latent are eliminated
at once, and a factor says over which plates it reads all members of a node and over which its own copies stay coupled.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from .contraction import from_parents
from .dag import DAG
from .display import Displayed
from .elimination import Explicit, MinFill, Order, Reverse, Step, Topological, eliminate
from .errors import GraphError
from .names import Names, chosen, disjoint, several
from .templates import Factor, Templates, join, templates

__all__ = ["Inversion", "invert"]

_AUTO = (MinFill(), Topological(), Reverse())


@dataclass(frozen=True)
class Inversion(Displayed):
    """A model's graph turned round for some observed nodes, as `invert` returns it."""

    dag: DAG
    """The model's graph."""

    observed: tuple[str, ...]
    """The nodes that the guide is given."""

    order: tuple[str, ...]
    """The latents in the order in which the guide samples them."""

    parents: Mapping[str, tuple[str, ...]] = field(hash=False)
    """What each latent's conditional reads; for a barren latent, its parents in the model."""

    barren: tuple[str, ...]
    """The latents without an observed descendant, which take the model's own conditionals."""

    steps: tuple[Step, ...]
    """The eliminations that led here, first to last."""

    deterministic: tuple[str, ...] = ()
    """The nodes that are functions of their parents and were contracted away."""

    factors: Mapping[str, Factor] = field(default_factory=dict, hash=False)
    """For each latent, what its conditional reads, pools and broadcasts, and which copies stay coupled."""

    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """The plates of each observed node."""

    @property
    def coupled(self) -> Mapping[str, tuple[str, ...]]:
        """For each latent whose copies depend on each other given what it reads, the plates over which they do."""
        return {node: factor.coupled for node, factor in self.factors.items() if factor.coupled}

    @cached_property
    def graph(self) -> DAG:
        """The guide's graph: the observed nodes, then the latents in sampling order."""
        return from_parents({**dict.fromkeys(self.observed, ()), **{node: self.parents[node] for node in self.order}})

    relevant: Templates | None = field(default=None, hash=False, repr=False, compare=False)
    """The model without barren and deterministic nodes, which was turned round."""

    def with_factors(self, factors: Mapping[str, Factor]) -> "Inversion":
        """Return a guide for the same observed nodes whose latents read something else, sampled in this order."""
        parents = {node: tuple(dict.fromkeys(read.node for read in factor.reads)) for node, factor in factors.items()}
        return replace(self, order=tuple(factors), parents=MappingProxyType(parents), factors=factors, steps=())

    @cached_property
    def templates(self) -> Templates:
        """The guide's graph with its plates."""
        graph, plates = self.graph, {node: factor.plates for node, factor in self.factors.items()} | self.given
        sets = {}
        for node, factor in self.factors.items():
            for read in factor.reads:
                agree = frozenset(plate for plate in plates[read.node] if plate not in read.pools)
                sets[read.node, node] = join(sets.get((read.node, node), ()), agree)
        return Templates(graph, plates, sets)

    def __str__(self) -> str:
        return " ".join(str(self.factors[node]) for node in self.order)


def invert(dag: DAG, observed: Names, *, order: str | Order | Iterable[str] = "auto",
           deterministic: Names = (), plates: Mapping[str, Iterable[str]] | None = None,
           whole: Mapping[tuple[str, str], Iterable[Iterable[str]]] | None = None) -> Inversion:
    """Return the faithful inversion of `dag`: parents for every latent such that `q(latents | observed)` can be exact.

    Arguments:
        dag: the model's graph.
        observed: the nodes whose values the guide is given.
        order: `"auto"` for the fewest arrows among `MinFill()`, `Topological()` and `Reverse()`; one of these; or the
            latents in the order in which the guide is to sample them (barren ones, named or not, come last).
        deterministic: nodes that are functions of their parents; their children inherit these parents.
        plates: the members of each plate, where nodes stand for one copy at each member.
        whole: arrows that join more than the copies that agree on the shared plates (see `templates`).

    Raises `GraphError` for unknown names, nothing observed, nothing latent, an observed deterministic node, or an
    order that does not name every latent.

    >>> print(invert(DAG("z2 -> z1 -> x, z1 -> spare"), "x"))
    q(z1 | x) q(z2 | z1) p(spare | z1)
    >>> print(invert(DAG("mu -> theta -> y"), "y", plates={"school": ["theta", "y"]}))
    q(mu | y[all school]) q(theta | mu, y)
    """
    observed, deterministic = _checked(dag, observed, deterministic)
    model = templates(dag, plates, whole).contracted(deterministic)
    relevant = model.restricted({*observed, *model.dag.ancestors(*observed)})
    barren = tuple(node for node in model.dag.order if node not in relevant.dag)
    latents = [node for node in relevant.dag if node not in observed]
    steps = min((eliminate(relevant, latents, rule) for rule in _rules(order, latents, barren)), key=_cost)
    factors = {step.node: Factor(step.node, model.plates[step.node], step.reads, step.coupled) for step in reversed(steps)}
    factors |= {node: _own(model, node) for node in barren}
    parents = {node: tuple(dict.fromkeys(read.node for read in factor.reads)) for node, factor in factors.items()}
    return Inversion(dag, observed, tuple(parents), MappingProxyType(parents), barren, steps, deterministic, MappingProxyType(factors),
                     MappingProxyType({node: model.plates[node] for node in observed}), relevant)


def _own(model: Templates, node: str) -> Factor:
    reads = [model.read(parent, node, agree) for parent in model.dag.parents(node) for agree in sorted(model.aligned[parent, node], key=sorted)]
    return Factor(node, model.plates[node], tuple(reads), barren=True)


def _checked(dag: DAG, observed: Names, deterministic: Names) -> tuple[tuple[str, ...], tuple[str, ...]]:
    observed, deterministic = chosen(observed, dag, "observed"), chosen(deterministic, dag, "deterministic")
    disjoint("invert", observed=observed, deterministic=deterministic)
    if not observed:
        raise GraphError(f"observed: expected at least one node; got none; try observed={list(dag.leaves)!r}")
    if len(observed) + len(deterministic) == len(dag):
        raise GraphError(f"observed: expected a latent to be left; got every node, {list(observed)!r}; "
                         f"try observed={list(observed[:-1])!r}")
    return observed, deterministic


def _rules(order: str | Order | Iterable[str], latents: Collection[str], barren: Collection[str]) -> tuple[Order, ...]:
    if order == "auto":
        return _AUTO
    if isinstance(order, Order):
        return (order,)
    named = [node for node in several(order, "order") if node not in barren]
    if set(named) != set(latents):
        raise GraphError(f"order: expected each of the latents {sorted(latents)!r}; got {named!r}; "
                         'try order="auto" and read what it chose from .order')
    return (Explicit(tuple(reversed(named))),)


def _cost(steps: tuple[Step, ...]) -> tuple[int, int]:
    """How many latents have coupled copies, and how many arrows there are."""
    return sum(bool(step.coupled) for step in steps), sum(len(step.reads) for step in steps)
