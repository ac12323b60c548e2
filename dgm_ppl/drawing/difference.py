"""Two graphs in one picture: what was added, removed and turned round."""

from __future__ import annotations

from ..graph import DAG
from ..network import BayesNet
from .figure import Arrow, Figure, Mark, Role
from .picture import Picture

__all__ = ["difference", "draw_difference"]


def draw_difference(before: DAG | BayesNet, after: DAG | BayesNet) -> Picture:
    """Return one picture of two graphs, each a `DAG` or a `BayesNet`, with their difference marked.

    Bold lines are in `after` alone, dotted ones in `before` alone, dashed arrows point the other way in `before`.

    >>> picture = draw_difference(DAG("a -> b, c -> b"), DAG("b -> a, a -> d, c -> b"))
    >>> [(arrow.tail, arrow.head, arrow.role.value) for arrow in picture.figure.arrows]
    [('b', 'a', 'turned'), ('a', 'd', 'added'), ('c', 'b', 'model')]
    """
    return Picture(difference(_dag(before), _dag(after)))


def _dag(graph: DAG | BayesNet) -> DAG:
    return graph if isinstance(graph, DAG) else graph.dag


def difference(before: DAG, after: DAG) -> Figure:
    """Return the figure of two graphs: rows follow `after`, what it lacks comes last."""
    names = (*after.order, *(name for name in before.order if name not in after))
    place = {name: i for i, name in enumerate(names)}
    gone = [edge for edge in before.edges if edge not in after.edges and edge[::-1] not in after.edges]
    roles = {edge: _role(edge, before) for edge in after.edges} | dict.fromkeys(gone, Role.REMOVED)
    arrows = tuple(Arrow(p, c, role=role, upward=place[p] > place[c]) for (p, c), role in roles.items())
    marks = tuple(Mark(name, name, role=_presence(name, before, after), tooltip=name) for name in names)
    used = {role for role in (*roles.values(), *(mark.role for mark in marks)) if role is not Role.MODEL}
    return Figure(marks, arrows, legend=tuple(role for role in Role if role in used))


def _role(edge: tuple[str, str], before: DAG) -> Role:
    if edge in before.edges:
        return Role.MODEL
    return Role.TURNED if edge[::-1] in before.edges else Role.ADDED


def _presence(name: str, before: DAG, after: DAG) -> Role:
    if name in before:
        return Role.MODEL if name in after else Role.REMOVED
    return Role.ADDED
