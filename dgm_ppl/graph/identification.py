"""Identification: whether an effect can be computed from what is observed, and by which formula.

The ID algorithm (Shpitser and Pearl, 2006) and its conditional form, in their numbering. They are complete: where they
fail there are two models that agree on everything observed and differ in the effect.
"""

from collections.abc import Collection
from dataclasses import dataclass

from .dag import DAG
from .errors import GraphError
from .estimand import Expression, Fraction, Probability, product_of, sum_of
from .mixed import MixedGraph, latent_projection
from .names import Names, chosen, disjoint, quoted

__all__ = ["Effect", "identify"]


@dataclass(frozen=True)
class Effect:
    """The answer of `identify`; print it to read it."""

    outcome: tuple[str, ...]
    do: tuple[str, ...]
    given: tuple[str, ...]

    estimand: Expression | None
    """The formula over what is observed; None where there is none."""

    hedge: tuple[frozenset[str], frozenset[str]] | None = None
    """The two nested sets of nodes joined by hidden common causes that stand in the way, where there is no formula."""

    @property
    def identified(self) -> bool:
        """Whether there is a formula."""
        return self.estimand is not None

    def __str__(self) -> str:
        left, right = (", ".join(map(quoted, names)) for names in (self.outcome, self.given))
        condition = ", ".join([f"do({quoted(name)})" for name in self.do] + [right] * bool(right))
        query = f"P({left}{' | ' + condition if condition else ''})"
        if self.identified:
            anything = self.estimand.free.difference(self.outcome, self.do, self.given)
            note = f", for any {', '.join(map(quoted, sorted(anything)))}" if anything else ""
            return f"{query} = {self.estimand}{note}"
        outer, inner = ("{" + ", ".join(sorted(one)) + "}" for one in self.hedge)
        return f"{query} is not identified: hidden common causes join {outer} and {inner}"


class _Hedge(Exception):
    """Line 5 was reached."""


@dataclass(frozen=True)
class _Law:
    """A distribution over the nodes of a graph, as the recursion carries it along.

    `factors[v]` is `P(v | everything before v)` along the topological order; `body` is their product or, once nodes
    have been summed out of its middle, the sum. It is `seen` while nothing outside it is held fixed.
    """

    graph: MixedGraph
    order: tuple[str, ...]
    factors: dict[str, Expression] | None
    body: Expression
    seen: bool

    @classmethod
    def observed(cls, graph: MixedGraph) -> "_Law":
        arrows = graph.arrows()
        factors = {node: Probability((node,), needed) for node, needed in _needed(graph, arrows).items()}
        return cls._product(graph, arrows.order, factors, True)

    @classmethod
    def _product(cls, graph: MixedGraph, order: tuple[str, ...], factors: dict[str, Expression],
                 seen: bool) -> "_Law":
        return cls(graph, order, factors, product_of(factors[node] for node in order), seen)

    def factor(self, node: str) -> Expression:
        """`P(node | everything before it)`."""
        if self.factors is not None:
            return self.factors[node]
        later = self.order[self.order.index(node) + 1:]
        return _ratio(sum_of(later, self.body), sum_of((node, *later), self.body))

    def marginal(self, kept: frozenset[str]) -> "_Law":
        """The distribution of `kept`, which is closed under parents."""
        order = tuple(node for node in self.order if node in kept)
        graph, gone = self.graph.subgraph(order), tuple(node for node in self.order if node not in kept)
        if self.seen:
            return _Law.observed(graph)
        if self.factors is not None and self.order[:len(order)] == order:
            return self._product(graph, order, {node: self.factors[node] for node in order}, False)
        return _Law(graph, order, None, sum_of(gone, self.body), False)

    def within(self, district: frozenset[str]) -> "_Law":
        """The distribution of a district when what is outside is held fixed."""
        order = tuple(node for node in self.order if node in district)
        factors = {node: self.factor(node) for node in order}
        seen = self.seen and all(factor.free <= district for factor in factors.values())
        return self._product(self.graph.subgraph(order), order, factors, seen)


def _needed(graph: MixedGraph, arrows: DAG) -> dict[str, tuple[str, ...]]:
    """What each node depends on of those before it: its district among them, and the parents of that (Tian and Pearl, 2002)."""
    spouses: dict[str, set[str]] = {node: set() for node in graph.nodes}
    for a, b in map(tuple, graph.bidirected):
        spouses[a].add(b)
        spouses[b].add(a)
    place = {node: index for index, node in enumerate(arrows.order)}
    found = {}
    for node in arrows.order:
        district, waiting = {node}, [node]
        while waiting:
            new = {one for one in spouses[waiting.pop()] if place[one] < place[node]} - district
            district |= new
            waiting.extend(new)
        needed = district.union(*(arrows.parents(one) for one in district)) - {node}
        found[node] = tuple(sorted(needed, key=place.__getitem__))
    return found


def identify(graph: DAG | MixedGraph, outcome: Names, do: Names, given: Names = (), *, latent: Names = ()) -> Effect:
    """Return `P(outcome | do(do), given)` as a formula over the observed nodes, or that there is none.

    Arguments:
        graph: the model's graph; or, with its hidden common causes as `a <-> b`, a `MixedGraph`.
        outcome, do, given: what is asked about, what is set from outside, and what is then seen.
        latent: the nodes that are never observed.

    >>> print(identify(DAG("u -> {x y}; x -> m -> y"), "y", "x", latent="u"))
    P(y | do(x)) = sum_m P(m | x) (sum_x' P(x') P(y | x', m))
    >>> print(identify(DAG("u -> {x y}; x -> y"), "y", "x", latent="u"))
    P(y | do(x)) is not identified: hidden common causes join {x, y} and {y}
    """
    outcome, do, given, latent = (chosen(names, graph if isinstance(graph, DAG) else graph.nodes, "identify")
                                  for names in (outcome, do, given, latent))
    disjoint("identify", outcome=outcome, do=do, given=given, latent=latent)
    if not outcome:
        raise GraphError('identify: expected an outcome; got none; try outcome="y"')
    seen = _projected(graph, latent)
    do_all, still = _moved(seen, outcome, do, given)
    try:
        joint = _identify(frozenset(outcome).union(still), frozenset(do_all), _Law.observed(seen))
    except _Hedge as hedge:
        return Effect(outcome, do, given, None, hedge.args)
    return Effect(outcome, do, given, _ratio(joint, sum_of(outcome, joint)) if still else joint)


def _projected(graph: DAG | MixedGraph, latent: tuple[str, ...]) -> MixedGraph:
    dag = graph if isinstance(graph, DAG) else graph.canonical()
    made = () if isinstance(graph, DAG) else tuple(node for node in dag if node not in graph.nodes)
    return latent_projection(dag, (*latent, *made))


def _moved(graph: MixedGraph, outcome: tuple[str, ...], do: tuple[str, ...],
           given: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Turn what is seen into what is done wherever the second rule of the do-calculus allows it (IDC)."""
    causes = graph.canonical()
    for node in given:
        rest = tuple(one for one in given if one != node)
        edges = [edge for edge in causes.do(*do).edges if edge[0] != node]
        if DAG(edges, nodes=causes.nodes).independent(outcome, node, (*do, *rest)):
            return _moved(graph, outcome, (*do, node), rest)
    return do, given


def _identify(outcome: frozenset[str], do: frozenset[str], law: _Law) -> Expression:
    graph, nodes, arrows = law.graph, frozenset(law.order), law.graph.arrows()
    if not do:                                                                       # line 1
        return Probability(_along(law, outcome)) if law.seen else sum_of(_along(law, nodes - outcome), law.body)
    relevant = outcome.union(arrows.ancestors(*outcome))
    if relevant != nodes:                                                            # line 2
        return _identify(outcome, do & relevant, law.marginal(relevant))
    idle = nodes - do - outcome.union(arrows.do(*do).ancestors(*outcome))
    if idle:                                                                         # line 3
        return _identify(outcome, do | idle, law)
    pieces = graph.subgraph(nodes - do).districts
    if len(pieces) > 1:                                                              # line 4
        factors = [_identify(piece, nodes - piece, law) for piece in pieces]
        return sum_of(_along(law, nodes - outcome - do), product_of(factors))
    if len(graph.districts) == 1:                                                    # line 5
        raise _Hedge(nodes, pieces[0])
    district = next(one for one in graph.districts if pieces[0] <= one)
    inner = law.within(district)
    if district == pieces[0]:                                                        # line 6
        return sum_of(_along(law, district - outcome), inner.body)
    return _identify(outcome, do & district, inner)                                  # line 7


def _along(law: _Law, nodes: Collection[str]) -> tuple[str, ...]:
    return tuple(node for node in law.order if node in nodes)


def _ratio(top: Expression, bottom: Expression) -> Expression:
    """The quotient, a conditional probability where both are probabilities of the same kind."""
    if isinstance(top, Probability) and isinstance(bottom, Probability) and top.given == bottom.given:
        of = tuple(name for name in top.of if name not in bottom.of)
        return Probability(of, bottom.of + bottom.given) if set(bottom.of) < set(top.of) else Fraction(top, bottom)
    return top if bottom == product_of([]) else Fraction(top, bottom)

