"""The Bayes ball: what a question about some nodes needs to know, found in one pass over the graph.

A ball starts at each node asked about. It passes through what is not given, bounces back to the parents from what is
given when it comes from above, and is stopped there when it comes from below; at a function of its parents it never
turns down again (Shachter, 1998, https://arxiv.org/abs/1301.7412).
"""

from collections.abc import Collection
from dataclasses import dataclass

from .dag import DAG
from .names import Names, chosen, disjoint

__all__ = ["Requisite", "connected", "requisite"]


@dataclass(frozen=True)
class Requisite:
    """What `requisite` found."""

    observations: tuple[str, ...]
    """The given nodes whose values are needed."""

    probabilities: tuple[str, ...]
    """The nodes whose conditional distributions are needed."""

    irrelevant: tuple[str, ...]
    """The nodes that are independent of those asked about."""

    def __str__(self) -> str:
        return "\n".join(f"{label}: {', '.join(names) or 'none'}" for label, names in (
            ("observations needed", self.observations), ("conditionals needed", self.probabilities),
            ("irrelevant", self.irrelevant)))


def requisite(dag: DAG, nodes: Names, given: Names = (), deterministic: Names = ()) -> Requisite:
    """Return which observations and which conditionals the distribution of `nodes` given `given` depends on.

    >>> print(requisite(DAG("season -> rain -> wet -> slippery; season -> sprinkler -> wet"), "slippery", given="wet"))
    observations needed: wet
    conditionals needed: slippery
    irrelevant: season, rain, wet, sprinkler
    """
    nodes, given, functions = _checked(dag, nodes, given, deterministic)
    top, bottom, visited = _roll(dag, nodes, given, functions)
    return Requisite(tuple(node for node in dag if node in given and node in visited),
                     tuple(node for node in dag if node in top),
                     tuple(node for node in dag if node not in bottom))


def connected(dag: DAG, nodes: Names, given: Names = (), deterministic: Names = ()) -> tuple[str, ...]:
    """Return the nodes that are not d-separated from `nodes` by `given`, these themselves left out.

    With `deterministic` nodes, which are functions of their parents, this is D-connection (Geiger, Verma and Pearl,
    1990): what is determined by the given nodes counts as given.

    >>> connected(DAG("rain -> wet <- sprinkler"), "rain"), connected(DAG("x -> half -> y"), "y", "x", "half")
    (('wet',), ())
    """
    nodes, given, functions = _checked(dag, nodes, given, deterministic)
    _, bottom, _ = _roll(dag, nodes, given, functions)
    return tuple(node for node in dag if node in bottom and node not in nodes)


def _checked(dag: DAG, nodes: Names, given: Names, deterministic: Names) -> tuple[set[str], set[str], set[str]]:
    nodes, given = set(chosen(nodes, dag, "nodes")), set(chosen(given, dag, "given"))
    disjoint("Bayes ball", nodes=nodes, given=given)
    return nodes, given, set(chosen(deterministic, dag, "deterministic"))


def _roll(dag: DAG, nodes: Collection[str], given: Collection[str],
          functions: Collection[str]) -> tuple[set[str], set[str], set[str]]:
    """Return the nodes from which a ball went up, those from which one went down, and those that one reached."""
    top, bottom, visited = set(), set(), set()
    waiting = [(node, True) for node in nodes]
    while waiting:
        node, from_child = waiting.pop()
        visited.add(node)
        if node not in top and from_child != (node in given):
            top.add(node)
            waiting.extend((parent, True) for parent in dag.parents(node))
        if node not in bottom and node not in given and not (from_child and node in functions):
            bottom.add(node)
            waiting.extend((child, False) for child in dag.children(node))
    return top, bottom, visited
