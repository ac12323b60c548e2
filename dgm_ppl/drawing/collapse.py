"""Large graphs with groups of variables drawn as one mark each.

An arrow between two groups stands for every arrow between their members and says how many they are. Groups may
depend on each other both ways, which two arrows then show; nothing is left out but what lies within a group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ..graph import GraphError
from ..graph.lazy import networkx as nx
from ..graph.names import Names, chosen
from .figure import Arrow, Box, Figure, Key, Mark, Shape
from .plates import regions

__all__ = ["collapsed", "communities"]


def collapsed(figure: Figure, groups: Mapping[str, Names]) -> Figure:
    """Return the figure with each group of variables, by its name, drawn as one mark.

    Raises `GraphError` for an unknown or repeated member, or a group that a plate holds only in part.

    >>> figure = Figure((Mark("a", "a"), Mark("b", "b"), Mark("c", "c")), (Arrow("a", "c"), Arrow("b", "c")))
    >>> small = collapsed(figure, {"causes": ["a", "b"]})
    >>> [(mark.title, mark.captions) for mark in small.marks], [(arrow.tail, arrow.label) for arrow in small.arrows]
    ([('causes', ('2 nodes',)), ('c', ())], [(('group', 'causes'), '2 arrows')])
    """
    members = {name: chosen(names, figure.names, f"draw: collapse: group {name!r}") for name, names in groups.items()}
    home = _homes(members, figure)
    boxes = tuple(_box(box, home, members) for box in figure.boxes)
    return replace(figure, marks=tuple(_marks(figure, members, home)), arrows=tuple(_arrows(figure, home)), boxes=boxes)


def _homes(members: Mapping[str, Sequence[str]], figure: Figure) -> dict[Key, Key]:
    """The group of each member, and of each network that computes one."""
    home: dict[Key, Key] = {}
    for group, names in members.items():
        for name in names:
            if name in home:
                raise GraphError(f"draw: collapse: expected groups without a common node; got {name!r} in both "
                                 f"{home[name][1]!r} and {group!r}; try leaving it out of one of them")
            home[name] = ("group", group)
    networks = (mark.key for mark in figure.marks if mark.shape is Shape.NETWORK)
    return home | {key: home[key[1]] for key in networks if key[1] in home}


def _marks(figure: Figure, members: Mapping[str, Sequence[str]], home: Mapping[Key, Key]) -> Iterator[Mark]:
    """Marks in the old order, a group where its first member was."""
    seen = set()
    for mark in figure.marks:
        group = home.get(mark.key)
        if group is None:
            yield mark
        elif group not in seen:
            seen.add(group)
            yield _group(group, [figure.mark(name) for name in members[group[1]]])


def _group(key: Key, marks: Sequence[Mark]) -> Mark:
    count = f"{len(marks)} node{'s' * (len(marks) != 1)}"
    return Mark(key, key[1], (count,), Shape.GROUP, shaded=all(mark.shaded for mark in marks),
                tooltip=f"{key[1]}: {', '.join(mark.title for mark in marks)}")


def _arrows(figure: Figure, home: Mapping[Key, Key]) -> Iterator[Arrow]:
    """Arrows with their ends moved to groups, those that then are the same counted."""
    moved = (_moved(arrow, home) for arrow in figure.arrows)
    for arrow, count in Counter(arrow for arrow in moved if arrow.tail != arrow.head).items():
        yield replace(arrow, label=f"{count} arrows") if count > 1 else arrow


def _moved(arrow: Arrow, home: Mapping[Key, Key]) -> Arrow:
    if arrow.tail not in home and arrow.head not in home:
        return arrow
    tail, head = home.get(arrow.tail, arrow.tail), home.get(arrow.head, arrow.head)
    return Arrow(tail, head, role=arrow.role, heads=arrow.heads)


def _box(box: Box, home: Mapping[Key, Key], members: Mapping[str, Sequence[str]]) -> Box:
    for group, names in members.items():
        if 0 < sum(name in box.members for name in names) < len(names):
            raise GraphError(f"draw: collapse: group {group!r}: expected members inside the same plates; got some in plate "
                             f"{box.name!r} and some outside; try one group for each")
    return replace(box, members=tuple(dict.fromkeys(home.get(key, key) for key in box.members)))


def communities(figure: Figure, most: int) -> dict[str, tuple[str, ...]]:
    """Return groups of closely joined variables inside the same plates, which leave about `most` marks.

    Groups are found by greedy modularity (Clauset, Newman and Moore, 2004) and named by their first member.
    """
    if most < 1:
        raise GraphError(f"draw: collapse: expected one or more marks; got {most}; try collapse=50")
    names, around = figure.names, regions(figure)
    if len(names) <= most:
        return {}
    found = []
    for region in dict.fromkeys(around[name] for name in names):
        inside = [name for name in names if around[name] == region]
        found += _split(inside, figure.arrows, max(most * len(inside) // len(names), 1))
    return {f"{group[0]} …": group for group in found if len(group) > 1}


def _split(names: Sequence[str], arrows: Collection[Arrow], most: int) -> list[tuple[str, ...]]:
    place = {name: i for i, name in enumerate(names)}
    ends = ((_variable(arrow.tail), _variable(arrow.head)) for arrow in arrows)
    graph = nx.Graph((place[a], place[b]) for a, b in ends if a != b and a in place and b in place)
    graph.add_nodes_from(range(len(names)))
    parts = sorted(nx.connected_components(graph), key=lambda part: (-len(part), min(part)))
    joined = [part for part in parts if len(part) > 1][: max(most - 1, 1)]
    loose = sorted(set(range(len(names))).difference(*joined))              # what no group could take in, together in one
    room = most - bool(loose)
    groups = [loose] if loose else []
    if joined:
        kept = graph.subgraph(set().union(*joined))
        groups += nx.community.greedy_modularity_communities(kept, cutoff=room, best_n=room) if room > 1 else [set(kept)]
    return [tuple(names[i] for i in sorted(group)) for group in sorted(groups, key=min)]


def _variable(key: Key) -> str:
    return key if isinstance(key, str) else key[1]
