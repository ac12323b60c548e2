"""Why two sets of nodes are independent or not: the open path, or what blocks each path.

A path is blocked by a chain `a -> m -> b` or a fork `a <- m -> b` whose middle is given, and by a collider
`a -> m <- b` when neither `m` nor a descendant of it is given (Pearl, 1988).
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING

from .lazy import networkx as nx
from .names import Names, braced, chosen, disjoint, quoted

if TYPE_CHECKING:
    from .dag import DAG

__all__ = ["Explanation", "Path", "explain", "open_path", "separated"]

Family = Mapping[str, Collection[str]]

_COUNTED, _SMALL = 100, 200
"""How many more paths are counted, and up to how many nodes so many are."""


@dataclass(frozen=True)
class Path:
    """A path between two nodes, and what decides whether it is open."""

    nodes: tuple[str, ...]
    arrows: tuple[str, ...]
    """`->` or `<-` between each node and the next."""

    blocker: str | None
    """The first node that blocks it; None where it is open."""

    reason: str

    def __str__(self) -> str:
        steps = "".join(f" {arrow} {quoted(node)}" for arrow, node in zip(self.arrows, self.nodes[1:]))
        return f"{quoted(self.nodes[0])}{steps}: {self.reason}"


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; print it to read it."""

    a: tuple[str, ...]
    b: tuple[str, ...]
    given: tuple[str, ...]
    paths: tuple[Path, ...]
    """The open path where there is one, and otherwise blocked paths, the shortest first."""

    left_out: int
    """How many blocked paths are not listed."""

    counted: bool = True
    """Whether `left_out` is exact; where it is not, there are at least so many."""

    @property
    def independent(self) -> bool:
        """Whether no path is open."""
        return all(path.blocker is not None for path in self.paths)

    def __str__(self) -> str:
        verdict = "independent" if self.independent else "dependent"
        given = f" given {braced(self.given)}" if self.given else ""
        return "\n".join([f"{braced(self.a)} and {braced(self.b)} are {verdict}{given}", *self._details()])

    def _details(self) -> Iterator[str]:
        yield from (f"  {path}" for path in self.paths)
        if not self.paths:
            yield "  no path joins them"
        if self.left_out:
            yield f"  ({'' if self.counted else 'at least '}{self.left_out} more, all blocked)"


def explain(dag: "DAG", a: Names, b: Names, given: Names = (), *, limit: int = 10) -> Explanation:
    """Return why `a` and `b`, each one name or several, are independent given `given`, or why not.

    At most `limit` blocked paths are listed, the shortest first.

    >>> from dgm_ppl.graph import DAG
    >>> dag = DAG("rain -> wet <- sprinkler; wet -> slippery")
    >>> print(explain(dag, "rain", "sprinkler"))
    rain and sprinkler are independent
      rain -> wet <- sprinkler: blocked at the collider wet, since neither it nor a descendant is given
    >>> print(explain(dag, "rain", "sprinkler", given="slippery"))
    rain and sprinkler are dependent given slippery
      rain -> wet <- sprinkler: open, the collider wet has the given descendant slippery
    """
    a, b, given = (chosen(group, dag, "explain") for group in (a, b, given))
    disjoint("explain", a=a, b=b, given=given)
    found = _search(dag, a, b, given)
    if found:
        return Explanation(a, b, given, (_judged(dag, found, given),), 0)
    counted = _COUNTED if len(dag) <= _SMALL else 1
    paths = list(islice(_paths(dag, a, b), limit + counted))
    shown = tuple(_judged(dag, path, given) for path in paths[:limit])
    return Explanation(a, b, given, shown, len(paths[limit:]), len(paths) < limit + counted)


def open_path(dag: "DAG", a: Names, b: Names, given: Names = ()) -> Path | None:
    """Return a shortest open path from `a` to `b`; None where `given` separates them."""
    a, b, given = (chosen(group, dag, "open_path") for group in (a, b, given))
    disjoint("open_path", a=a, b=b, given=given)
    found = _search(dag, a, b, given)
    return _judged(dag, found, given) if found else None


def separated(parents: Family, children: Family, a: Collection[str], b: Collection[str], given: Collection[str]) -> bool:
    """Return whether no path between disjoint sets is open: a search that ends at the first node of `b`.

    It stays among the ancestors of the three sets, since a path that leaves them turns at a collider that nothing opens.
    """
    known, goal = set(given), set(b)
    opened = _with_ancestors(parents, known)
    inside = _with_ancestors(parents, [*a, *b]) | opened
    waiting = [(node, False) for node in a]
    seen = set(waiting)
    while waiting:
        node, along = waiting.pop()
        if node in goal:
            return False
        free = node not in known
        onward = [(parent, False) for parent in parents[node]] if (node in opened if along else free) else []
        if free:
            onward += [(child, True) for child in children[node] if child in inside]
        new = [one for one in onward if one not in seen]
        seen.update(new)
        waiting += new
    return True


def _with_ancestors(parents: Family, nodes: Iterable[str]) -> set[str]:
    found = set(nodes)
    waiting = list(found)
    while waiting:
        new = [parent for parent in parents[waiting.pop()] if parent not in found]
        found.update(new)
        waiting += new
    return found


def _search(dag: "DAG", a: tuple[str, ...], b: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    """A shortest open path, by breadth over pairs of a node and whether it was entered along an arrow."""
    opened = {*given, *dag.ancestors(*given)}
    waiting = deque((node, False) for node in a)
    back: dict[tuple[str, bool], tuple[str, bool] | None] = dict.fromkeys(waiting)
    while waiting:
        state = waiting.popleft()
        node, along = state
        if node in b:
            return _traced(back, state)
        up = node in opened if along else node not in given
        down = node not in given
        onward = [(parent, False) for parent in dag.parents(node) if up]
        onward += [(child, True) for child in dag.children(node) if down]
        new = [one for one in onward if one not in back]
        back.update(dict.fromkeys(new, state))
        waiting.extend(new)
    return ()


def _traced(back: dict, state: tuple[str, bool] | None) -> tuple[str, ...]:
    path = []
    while state is not None:
        path.append(state[0])
        state = back[state]
    return tuple(reversed(path))


def _paths(dag: "DAG", a: tuple[str, ...], b: tuple[str, ...]) -> Iterator[list[str]]:
    """Every path from `a` to `b` that meets them at its ends alone, the shortest first for each pair."""
    skeleton = dag.to_networkx().to_undirected()
    for start, end in product(a, b):
        others = {*a, *b} - {start, end}
        between = skeleton.subgraph(set(dag) - others)
        if nx.has_path(between, start, end):
            yield from nx.shortest_simple_paths(between, start, end)


def _judged(dag: "DAG", nodes: tuple[str, ...] | list[str], given: tuple[str, ...]) -> Path:
    arrows = tuple("<-" if after in dag.parents(node) else "->" for node, after in zip(nodes, nodes[1:]))
    remarks = [_remark(dag, node, before == "->" and after == "<-", before != after, given)
               for node, before, after in zip(nodes[1:], arrows, arrows[1:])]
    blocked = next((index for index, (is_open, _) in enumerate(remarks) if not is_open), None)
    if blocked is not None:
        return Path(tuple(nodes), arrows, nodes[blocked + 1], f"blocked at {remarks[blocked][1]}")
    told = [text for _, text in remarks if text]
    return Path(tuple(nodes), arrows, None, ", ".join(["open", *told]))


def _remark(dag: "DAG", node: str, collider: bool, turns: bool, given: tuple[str, ...]) -> tuple[bool, str]:
    if not collider:
        return node not in given, f"{node}, a {'fork' if turns else 'chain'} whose middle is given" * (node in given)
    if node in given:
        return True, f"the collider {node} is given"
    known = [one for one in dag.descendants(node) if one in given]
    if known:
        return True, f"the collider {node} has the given descendant {known[0]}"
    return False, f"the collider {node}, since neither it nor a descendant is given"
