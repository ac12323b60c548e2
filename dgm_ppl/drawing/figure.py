"""What a picture shows, before any drawing language: the second of three steps from a graph to its picture.

A figure is marks, arrows between them and boxes around them. Every writer (DOT, TikZ, Mermaid, the interactive page) reads
figures, and every decoration (evidence, `do`, colours, marginals) is a function from figure to figure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

from .charts import Chart
from .relations import Dependence, Node, Plate, Relations

__all__ = ["Arrow", "Box", "Figure", "Key", "Mark", "Placement", "Rectangle", "Role", "Shape", "compose"]

Key = str | tuple[str, str]
"""A variable's name, `(role, child)` for the network on the way to a child, or `("group", name)`."""


Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top."""


class Shape(Enum):
    """What a mark stands for."""

    VARIABLE = "variable"
    INPUT = "input"
    NETWORK = "network"
    GROUP = "group"


class Role(Enum):
    """Why an arrow or a network is there."""

    MODEL = "model"
    GUIDE = "guide"
    HIDDEN = "hidden"
    CUT = "cut"
    ADDED = "added"
    REMOVED = "removed"
    TURNED = "turned"
    JOINED = "joined"
    GONE = "gone"


@dataclass(frozen=True)
class Mark:
    """A variable, an input, a network that reads several parents, or a group of variables.

    A shaded mark is observed, a double one deterministic, a forced one set by `do`; a color takes the place of the
    shade. A chart shows its marginal.
    """

    key: Key
    title: str
    captions: tuple[str, ...] = ()
    shape: Shape = Shape.VARIABLE
    role: Role = Role.MODEL
    shaded: bool = False
    double: bool = False
    forced: bool = False
    color: str | None = None
    chart: Chart | None = None
    tooltip: str = ""


@dataclass(frozen=True)
class Arrow:
    """A line from `tail` to `head` with no, one or two heads; `upward` where the head stands above the tail.

    A tooltip shows the `detail`.
    """

    tail: Key
    head: Key
    label: str = ""
    role: Role = Role.MODEL
    heads: int = 1
    upward: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Box:
    """A plate: a box around its members."""

    name: str
    label: str
    members: tuple[Key, ...]


@dataclass(frozen=True, eq=False)
class Placement:
    """The centre of every mark and the rectangle of every box, in points."""

    centres: Mapping[Key, tuple[float, float]]
    rectangles: Mapping[str, Rectangle]


@dataclass(frozen=True)
class Figure:
    """Marks in drawing order, with arrows and boxes; `legend` names the roles that a reader must be told.

    A placement says where everything stands; without one the drawing program finds that.
    """

    marks: tuple[Mark, ...]
    arrows: tuple[Arrow, ...]
    boxes: tuple[Box, ...] = ()
    legend: tuple[Role, ...] = ()
    placement: Placement | None = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the variables."""
        return tuple(mark.key for mark in self.marks if isinstance(mark.key, str))

    @cached_property
    def place(self) -> dict[Key, int]:
        """Each mark's number."""
        return {mark.key: i for i, mark in enumerate(self.marks)}

    def mark(self, key: Key) -> Mark:
        """Return the mark with this key."""
        return self.marks[self.place[key]]

    def changed(self, change: Callable[[Mark], Mark], names: Collection[str]) -> Figure:
        """Return the figure with the marks of these variables changed."""
        return replace(self, marks=tuple(change(mark) if mark.key in names else mark for mark in self.marks))


def compose(relations: Relations) -> Figure:
    """Return the figure of some relations in conventional notation.

    Shaded is observed, double-lined deterministic, a small box an input; boxes are plates. A network that reads several
    parents becomes a mark of its own on the way to the child.
    """
    place = {name: i for i, name in enumerate(relations.names)}
    networks = [d for d in relations.dependences if len(d.parents) > 1]
    marks = (*map(_variable, relations.nodes), *map(_network, networks))
    arrows = (arrow for dependence in relations.dependences for arrow in _arrows(dependence, place))
    return Figure(marks, tuple(arrows), tuple(_box(plate, relations, networks) for plate in relations.plates))


def _variable(node: Node) -> Mark:
    return Mark(
        node.name, node.name, captions=(node.distribution,) if node.distribution and not node.given else (),
        shape=Shape.INPUT if node.given else Shape.VARIABLE,
        shaded=node.observed or node.given, double=node.deterministic, tooltip=_tooltip(node),
    )


def _tooltip(node: Node) -> str:
    return "\n".join([f"{node.name} ~ {node.summary}" if node.summary else node.name, *node.table])


def _role(dependence: Dependence) -> Role:
    if dependence.guide:
        return Role.GUIDE
    return Role.HIDDEN if dependence.heads == 2 else Role.MODEL


def _key(dependence: Dependence) -> Key:
    return (_role(dependence).value, dependence.child)


def _network(dependence: Dependence) -> Mark:
    reads = f"{dependence.label} reads {', '.join(dependence.parents)} and gives {dependence.child}"
    tooltip = "\n".join(filter(None, [reads, dependence.detail]))
    return Mark(_key(dependence), dependence.label, shape=Shape.NETWORK, role=_role(dependence), tooltip=tooltip)


def _arrows(dependence: Dependence, place: dict[str, int]) -> Iterable[Arrow]:
    child, role = dependence.child, _role(dependence)
    upward = {parent: place[parent] > place[child] for parent in dependence.parents}
    if len(dependence.parents) == 1:
        (parent,) = dependence.parents
        label = ", ".join(filter(None, [dependence.label, *dependence.pools]))
        return [Arrow(parent, child, label, role, dependence.heads, upward[parent], dependence.detail)]
    network = _key(dependence)
    pools = dependence.pools or ("",) * len(dependence.parents)
    lines = [Arrow(parent, network, pool, role, 0, upward[parent]) for parent, pool in zip(dependence.parents, pools)]
    return [*lines, Arrow(network, child, role=role, upward=any(upward.values()))]


def _box(plate: Plate, relations: Relations, networks: Iterable[Dependence]) -> Box:
    inside = (_key(network) for network in networks if network.child in plate.members)
    members = tuple(name for name in relations.names if name in plate.members)
    label = plate.name if plate.size is None else f"{plate.name} ({plate.size})"
    return Box(plate.name, label, (*members, *inside))
