"""Faithful inversion: the graph of a guide that can represent the model's posterior, and has no needless arrow.

Latents without an observed descendant are set aside: they take the model's own conditionals. The others are eliminated
one by one from the moral graph of what is left; what a latent is joined to when it goes is what its posterior needs
(Webb et al., 2018, https://arxiv.org/abs/1712.00287). After the setting aside, every order of elimination gives a
minimal I-map of the posterior, so the order is a free choice of cost.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from .dag import DAG
from .elimination import Explicit, Forward, MinFill, Order, Reverse, Step, eliminate
from .errors import GraphError
from .names import Names, chosen, disjoint, several
from .contraction import contract, from_parents
from .display import Displayed

__all__ = ["Inversion", "invert"]

_AUTO = (MinFill(), Forward(), Reverse())


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

    @cached_property
    def graph(self) -> DAG:
        """The guide's graph: the observed nodes, then the latents in sampling order."""
        return from_parents({**dict.fromkeys(self.observed, ()), **{node: self.parents[node] for node in self.order}})

    def __str__(self) -> str:
        factors = (f"q({', '.join([node])}" + (f" | {', '.join(self.parents[node])})" if self.parents[node] else ")")
                   for node in self.order if node not in self.barren)
        return " ".join([*factors, *(f"p({node} | {', '.join(self.parents[node])})" if self.parents[node]
                                     else f"p({node})" for node in self.barren)])


def invert(dag: DAG, observed: Names, *, order: str | Order | Iterable[str] = "auto",
           deterministic: Names = ()) -> Inversion:
    """Return the faithful inversion of `dag`: parents for every latent such that `q(latents | observed)` can be exact.

    Arguments:
        dag: the model's graph.
        observed: the nodes whose values the guide is given.
        order: `"auto"` for the fewest arrows among `MinFill()`, `Forward()` and `Reverse()`; one of these; or the
            latents in the order in which the guide is to sample them (barren ones, named or not, come last).
        deterministic: nodes that are functions of their parents; their children inherit these parents.

    Raises `GraphError` for unknown names, nothing observed, nothing latent, an observed deterministic node, or an
    order that does not name every latent.

    >>> print(invert(DAG("z2 -> z1 -> x, z1 -> spare"), "x"))
    q(z1 | x) q(z2 | z1) p(spare | z1)
    """
    observed, deterministic = _checked(dag, observed, deterministic)
    model = contract(dag, deterministic)
    relevant = model.subgraph({*observed, *model.ancestors(*observed)})
    barren = tuple(node for node in model.order if node not in relevant)
    latents = [node for node in relevant if node not in observed]
    steps = min((eliminate(relevant, latents, rule) for rule in _rules(order, latents, barren)), key=_arrows)
    parents = {step.node: step.neighbours for step in reversed(steps)}
    parents.update((node, model.parents(node)) for node in barren)
    return Inversion(dag, observed, tuple(parents), MappingProxyType(parents), barren, steps, deterministic)


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


def _arrows(steps: tuple[Step, ...]) -> int:
    return sum(len(step.neighbours) for step in steps)
