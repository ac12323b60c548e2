"""An elimination, or an inversion, one step a panel: the graph, its moral graph, every node that goes, and what is left of it all.

Every panel has every node where the first one has it, so that what changes is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from ..graph import DAG, GraphError, Inversion, MinFill, Order, Step
from ..graph.contraction import contract
from ..graph.elimination import Explicit, eliminate
from ..graph.names import Names, chosen
from ..network import BayesNet, RecognitionNet
from .dot import write_dot
from .figure import Arrow, Box, Figure, Key, Mark, Placement, Role, Shape
from .layout import Layout, lay_out
from .measure import LABEL_SIZE, text_width
from .picture import Picture

__all__ = ["draw_steps"]

_GAP, _FRAME, _LABEL = 16.0, 14.0, 20.0
_NEXT = "#f0e442"                                       # the lightest colour of the palette, so that the name on it reads

Lines = dict[frozenset[str], Role]


@dataclass(frozen=True)
class _Panel:
    """One state: arrows or lines with their roles, nodes that are gone, the one that goes next, and what is said below."""

    title: str
    arrows: tuple[tuple[str, str, Role], ...] = ()
    lines: tuple[tuple[frozenset[str], Role], ...] = ()
    gone: frozenset[str] = frozenset()
    going: str | None = None


def draw_steps(what: Inversion | RecognitionNet | DAG | BayesNet, *, order: Order | Names = MinFill(), columns: int = 4) -> Picture:
    """Return one picture of an inversion or an elimination, a panel for each step, `columns` of them in a row.

    Arguments:
        what: an `Inversion` or the guide made from one; or a graph or net, all of whose nodes are eliminated.
        order: for a graph or net, a rule such as `MinFill()`, or every node in the order in which it goes.

    The first panel is the graph, the second its moral graph; then one node goes in each. Bold lines are those that a step joins,
    dotted ones are gone. The last panel is the inverse graph, or the moral graph with every line that was joined.

    >>> from dgm_ppl.graph import invert
    >>> picture = draw_steps(invert(DAG("z -> {x y}"), ["x", "y"]))
    >>> [box.label for box in picture.figure.boxes]
    ['1. the graph', '2. moral graph', '3. z goes', '4. the inverse']
    >>> [box.label for box in draw_steps(DAG("a -> b"), order=["b", "a"]).figure.boxes]
    ['1. the graph', '2. moral graph', '3. b goes', '4. a goes', '5. all lines: cliques of at most 2']
    """
    if columns < 1:
        raise GraphError(f"draw_steps: expected one or more panels in a row; got columns={columns}; try columns=4")
    if isinstance(what, RecognitionNet):
        what = what.inversion
    if isinstance(what, Inversion):
        dag, observed, panels = what.dag, what.observed, tuple(_inversion(what))
    elif isinstance(what, (DAG, BayesNet)):
        dag, observed = what if isinstance(what, DAG) else what.dag, ()
        steps = eliminate(dag, dag.nodes, _rule(order, dag))
        panels = (*_states(dag, steps), _filled(dag, steps))
    else:
        raise TypeError(f"draw_steps: expected an inversion, a guide, a DAG or a net; got {type(what).__name__}; try draw_steps(dgm_ppl.graph.invert(dag, \"x\"))")
    return Picture(_arranged(dag, observed, panels, columns))


def _rule(order: Order | Names, dag: DAG) -> Order:
    if isinstance(order, Order):
        return order
    named = chosen(order, dag, "draw_steps: order")
    if set(named) != set(dag):
        missing = [node for node in dag if node not in named]
        raise GraphError(f"draw_steps: order: expected every node; got none of {missing!r}; try order=MinFill()")
    return Explicit(named)


def _inversion(inversion: Inversion) -> Iterator[_Panel]:
    model = contract(inversion.dag, inversion.deterministic)
    relevant = model.subgraph({*inversion.observed, *model.ancestors(*inversion.observed)})
    aside = frozenset(inversion.dag) - frozenset(relevant)
    yield from _states(relevant, inversion.steps, whole=inversion.dag, aside=aside)
    arrows = [(parent, node, Role.GUIDE) for node in inversion.order if node not in inversion.barren for parent in inversion.parents[node]]
    own = [(parent, node, Role.MODEL) for node in inversion.barren for parent in inversion.parents[node]]
    yield _Panel("the inverse", tuple(arrows + own), gone=frozenset(inversion.deterministic))


def _states(dag: DAG, steps: Sequence[Step], *, whole: DAG | None = None, aside: frozenset[str] = frozenset()) -> Iterator[_Panel]:
    """The graph, its moral graph, and the graph after each step; nodes set aside are gone from the second on."""
    yield _Panel("the graph", tuple((*edge, Role.MODEL) for edge in (whole or dag).edges))
    lines: Lines = {frozenset(edge): Role.MODEL for edge in dag.edges}
    lines |= {frozenset(pair): Role.JOINED for node in dag for pair in combinations(dag.parents(node), 2) if frozenset(pair) not in lines}
    yield _Panel("moral graph", lines=tuple(lines.items()), gone=aside)
    gone: frozenset[str] = aside
    for step in steps:
        lines = {edge: Role.MODEL if role is Role.JOINED else role for edge, role in lines.items() if not edge & gone}
        lines |= {frozenset(pair): Role.JOINED for pair in step.fill}
        ending = {edge: Role.GONE for edge in lines if step.node in edge}
        yield _Panel(f"{step.node} goes", lines=tuple((lines | ending).items()), gone=gone, going=step.node)
        gone |= {step.node}


def _filled(dag: DAG, steps: Sequence[Step]) -> _Panel:
    lines: Lines = {frozenset(edge): Role.MODEL for edge in dag.edges}
    married = {frozenset(pair) for node in dag for pair in combinations(dag.parents(node), 2)}
    joined = married | {frozenset(pair) for step in steps for pair in step.fill}
    lines |= {edge: Role.JOINED for edge in joined if edge not in lines}
    largest = max((len(step.neighbours) + 1 for step in steps), default=0)
    return _Panel(f"all lines: cliques of at most {largest}", lines=tuple(lines.items()))


# ---- from panels to one figure


def _arranged(dag: DAG, observed: Collection[str], panels: Sequence[_Panel], columns: int) -> Figure:
    places = _places(dag)
    titles = [f"{i}. {panel.title}" for i, panel in enumerate(panels, 1)]
    left, bottom, right, top = _around(places.values())
    wide = max(right - left + 2 * _FRAME, *(text_width(title, LABEL_SIZE) + 2 * _FRAME for title in titles))
    high = top - bottom + 2 * _FRAME + _LABEL
    marks, arrows, boxes, centres, rectangles = [], [], [], {}, {}
    for i, (panel, title) in enumerate(zip(panels, titles)):
        x, y = i % columns * (wide + _GAP), -(i // columns) * (high + _GAP)
        keys = {node: (f"panel {i + 1}", node) for node in dag}
        marks += [_mark(node, keys[node], panel, observed) for node in dag.order]
        arrows += _arrows(panel, keys, dag)
        boxes.append(Box(title, title, tuple(keys.values())))
        rectangles[title] = (x, y, x + wide, y + high)
        shift = x + wide / 2 - (left + right) / 2, y + _FRAME + _LABEL - bottom
        centres |= {keys[node]: ((a + c) / 2 + shift[0], (b + d) / 2 + shift[1]) for node, (a, b, c, d) in places.items()}
    used = {arrow.role for arrow in arrows} - {Role.MODEL}
    return Figure(tuple(marks), tuple(arrows), tuple(boxes), tuple(role for role in Role if role in used), Placement(centres, rectangles))


def _places(dag: DAG) -> dict[str, tuple[float, float, float, float]]:
    """Where the drawing program puts the nodes of the graph alone."""
    figure = Figure(tuple(Mark(node, node) for node in dag.order), tuple(Arrow(*edge) for edge in dag.edges))
    layout: Layout = lay_out(write_dot(figure))
    return dict(zip(dag.order, layout.marks))


def _around(rectangles: Collection[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    left, bottom, right, top = zip(*rectangles)
    return min(left), min(bottom), max(right), max(top)


def _mark(node: str, key: Key, panel: _Panel, observed: Collection[str]) -> Mark:
    role = Role.GONE if node in panel.gone else Role.MODEL
    mark = Mark(key, node, shape=Shape.VARIABLE, role=role, shaded=node in observed, tooltip=f"{node}: {panel.title}")
    return replace(mark, color=_NEXT) if node == panel.going else mark


def _arrows(panel: _Panel, keys: dict[str, Key], dag: DAG) -> Iterator[Arrow]:
    place = {node: i for i, node in enumerate(dag.order)}
    for parent, child, role in panel.arrows:
        yield Arrow(keys[parent], keys[child], role=role, upward=place[parent] > place[child])
    for edge, role in panel.lines:
        a, b = sorted(edge, key=place.__getitem__)
        yield Arrow(keys[a], keys[b], role=role, heads=0)
