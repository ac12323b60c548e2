"""Sets to adjust for: what to hold fixed so that a difference seen is a difference made.

The effect of `cause` on `effect` is then `sum_z P(effect | cause, z) P(z)` for a back-door or adjustment set `z`, and
goes through a front-door set in two steps. Nodes named `latent` cannot be adjusted for.
"""

from collections.abc import Iterator
from itertools import combinations

from .dag import DAG
from .names import Names, chosen, disjoint
from .separators import minimal_separators

__all__ = ["adjustment_sets", "backdoor_sets", "frontdoor_sets", "is_adjustment", "is_backdoor", "is_frontdoor"]


def is_backdoor(dag: DAG, cause: Names, effect: Names, adjust: Names = ()) -> bool:
    """Return whether `adjust` has no descendant of `cause` and blocks every path into it (Pearl, 1995).

    >>> dag = DAG("age -> {drug health}; drug -> health")
    >>> is_backdoor(dag, "drug", "health"), is_backdoor(dag, "drug", "health", "age")
    (False, True)
    """
    cause, effect, adjust = _checked(dag, cause, effect, adjust, "adjust")
    return (not set(adjust).intersection(dag.descendants(*cause))
            and _without_out(dag, cause).independent(cause, effect, adjust))


def backdoor_sets(dag: DAG, cause: Names, effect: Names, *, latent: Names = ()) -> Iterator[tuple[str, ...]]:
    """Yield every back-door set of which no node can go; nothing where there is none.

    >>> list(backdoor_sets(DAG("a -> {b x}; b -> y; x -> y"), "x", "y"))
    [('a',), ('b',)]
    """
    cause, effect, latent = _checked(dag, cause, effect, latent, "latent")
    allowed = set(dag).difference(dag.descendants(*cause), latent)
    return minimal_separators(_without_out(dag, cause), cause, effect, within=allowed)


def is_adjustment(dag: DAG, cause: Names, effect: Names, adjust: Names = ()) -> bool:
    """Return whether adjusting for `adjust` gives the effect, in every model on the graph (Shpitser et al., 2010).

    This is wider than the back-door criterion: descendants of the cause may do as well, if they are on no causal path.
    """
    cause, effect, adjust = _checked(dag, cause, effect, adjust, "adjust")
    causal = _causal(dag, cause, effect)
    return (not set(adjust).intersection({*causal, *dag.descendants(*causal)})
            and _proper_backdoor(dag, cause, causal).independent(cause, effect, adjust))


def adjustment_sets(dag: DAG, cause: Names, effect: Names, *, latent: Names = ()) -> Iterator[tuple[str, ...]]:
    """Yield every adjustment set of which no node can go (van der Zander, Liskiewicz and Textor, 2014).

    >>> list(adjustment_sets(DAG("x -> y; x -> w; u -> {w y}"), "x", "y", latent="u"))
    [()]
    """
    cause, effect, latent = _checked(dag, cause, effect, latent, "latent")
    causal = _causal(dag, cause, effect)
    allowed = set(dag).difference(causal, dag.descendants(*causal), latent)
    return minimal_separators(_proper_backdoor(dag, cause, causal), cause, effect, within=allowed)


def is_frontdoor(dag: DAG, cause: Names, effect: Names, through: Names) -> bool:
    """Return whether `through` meets every causal path, its own back doors being shut (Pearl, 1995).

    >>> is_frontdoor(DAG("habit -> {smoking cancer}; smoking -> tar -> cancer"), "smoking", "cancer", "tar")
    True
    """
    cause, effect, through = _checked(dag, cause, effect, through, "through")
    cut = dag.subgraph(set(dag).difference(through))
    return (not set(effect).intersection(cut.descendants(*cause))
            and (not through or _without_out(dag, cause).independent(cause, through))
            and (not through or _without_out(dag, through).independent(through, effect, cause)))


def frontdoor_sets(dag: DAG, cause: Names, effect: Names, *, latent: Names = ()) -> Iterator[tuple[str, ...]]:
    """Yield every front-door set of which no node can go, the smallest first; their search is exponential.

    >>> list(frontdoor_sets(DAG("u -> {x y}; x -> m -> y"), "x", "y", latent="u"))
    [('m',)]
    """
    cause, effect, latent = _checked(dag, cause, effect, latent, "latent")
    cut = _without_out(dag, cause)
    useful = [node for node in dag
              if node not in {*cause, *effect, *latent} and cut.independent(cause, node)]
    found: list[set[str]] = []
    for through in (through for size in range(len(useful) + 1) for through in combinations(useful, size)):
        if not any(one.issubset(through) for one in found) and is_frontdoor(dag, cause, effect, through):
            found.append(set(through))
            yield through


def _checked(dag: DAG, cause: Names, effect: Names, others: Names, label: str) -> tuple[tuple[str, ...], ...]:
    cause, effect = chosen(cause, dag, "cause"), chosen(effect, dag, "effect")
    others = chosen(others, dag, label)
    disjoint("adjustment", cause=cause, effect=effect, **{label: others})
    return cause, effect, others


def _without_out(dag: DAG, nodes: tuple[str, ...]) -> DAG:
    return DAG([edge for edge in dag.edges if edge[0] not in nodes], nodes=dag.nodes)


def _causal(dag: DAG, cause: tuple[str, ...], effect: tuple[str, ...]) -> set[str]:
    """The nodes, other than the causes, on directed paths that leave the causes for good."""
    after = set(dag.do(*cause).descendants(*cause))
    before = {*effect, *_without_out(dag, cause).ancestors(*effect)}
    return after & before


def _proper_backdoor(dag: DAG, cause: tuple[str, ...], causal: set[str]) -> DAG:
    return DAG([(a, b) for a, b in dag.edges if not (a in cause and b in causal)], nodes=dag.nodes)

