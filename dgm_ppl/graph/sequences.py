"""What a latent of a sequence has to read, found by d-separation on the steps written out.

A guide draws the latents of a sequence one after the other. The nodes that one of them depends on, given all others that are known by then, are its Markov
boundary among them; where the model repeats, so does the boundary, and it is read off at a step in the middle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .dag import DAG
from .templates import Aligned

__all__ = ["Sight", "sight"]

Place = tuple[str, int | None]
"""A node and its step; no step where it is in no chain."""

Read = tuple[str, int | None]
"""A node and how many steps away it is read, as it stands in a `Sight`; no number where all of it is, or where it has no steps."""


@dataclass(frozen=True)
class Sight:
    """What a latent reads: nodes outside the chain, nodes at some steps relative to its own, and nodes at all steps from one on, back or ahead."""

    outside: tuple[str, ...] = ()
    near: tuple[tuple[str, int], ...] = ()
    before: tuple[tuple[str, int], ...] = ()
    """Nodes that it needs at all earlier steps, each with the last of them."""

    after: tuple[tuple[str, int], ...] = ()
    """Nodes that it needs at all later steps, each with the first of them."""

    whole: tuple[str, ...] = ()
    """Nodes of a chain that it is not in, which it needs at all steps."""

    across: Mapping[Read, frozenset[Aligned]] = field(default_factory=dict)
    """For what it reads of other members than its own: the largest sets of plates that it shares with the node, over all members of which it is read."""


def sight(dag: DAG, places: Mapping[str, Place], latent: str, known: Collection[str], *, reach: int, along: Collection[str] | None = None, drawn: Collection[str] = (), together: Collection[str] = (), apart: Mapping[str, Aligned] = MappingProxyType({}), all_known: bool = False) -> Sight:
    """What one latent, at a step in the middle or in no chain, depends on among what is known.

    Arguments:
        dag: the model's graph with all steps written out, deterministic nodes contracted away.
        places: the node and step of each of its nodes.
        latent: the latent, at its step.
        known: what the guide knows when it draws the latent.
        reach: how many steps away a single step is still read by itself; what is needed further away is needed at all steps there.
        along: the nodes of the latent's chain, none where it is in no chain; all nodes with steps where left out.
        drawn: nodes that the guide draws, whose values at the same step are read by themselves.
        together: copies of the latent that are drawn with it, for which it has to read as well.
        apart: for copies of nodes in plates, the plates that they share with the latent and in which they are of another member.
        all_known: read everything known, needed or not.

    >>> dag = DAG("z0 -> z1 -> z2 -> z3 -> z4, z0 -> x0, z1 -> x1, z2 -> x2, z3 -> x3, z4 -> x4")
    >>> places = {name: (name[0], int(name[1])) for name in dag}
    >>> sight(dag, places, "z2", ["z0", "z1", "x0", "x1", "x2", "x3", "x4"], reach=1)
    Sight(outside=(), near=(('z', -1),), before=(), after=(('x', 0),), whole=(), across={})
    """
    needed = [one for one in known if all_known or not dag.independent([latent, *together], one, given=[other for other in known if other != one])]
    here = places[latent][1]
    whole: dict[str, None] = {}
    offsets: dict[str, list[int]] = {}
    members: dict[Read, set[Aligned]] = {}
    for one in needed:
        node, step = places[one]
        inside = step is not None and (along is None or node in along)
        if inside:
            offsets.setdefault(node, []).append(step - here)
        elif step is not None:
            whole[node] = None
        members.setdefault((node, step - here if inside else None), set()).add(apart.get(one, frozenset()))
    near: list[tuple[str, int]] = []
    before: list[tuple[str, int]] = []
    after: list[tuple[str, int]] = []
    for node, found in offsets.items():
        back, ahead, taken = min(found) < -reach, max(found) > reach, node in drawn
        rest = set(found)
        if ahead:
            after.append((node, min(offset for offset in found if offset >= taken)))
            rest -= _joined(members, after[-1], {offset for offset in rest if offset >= after[-1][1]})
        if back:
            before.append((node, max(offset for offset in rest if offset <= -taken)))
            rest -= _joined(members, before[-1], {offset for offset in rest if offset <= before[-1][1]})
        near += [(node, offset) for offset in sorted(rest)]
    across = {read: _largest(sets) for read, sets in members.items() if any(sets)}
    return Sight(tuple(dict.fromkeys(places[one][0] for one in needed if places[one][1] is None)), tuple(near), tuple(before), tuple(after), tuple(whole), across)


def _joined(members: dict[Read, set[Aligned]], read: tuple[str, int], offsets: Collection[int]) -> Collection[int]:
    """Writes what is read of other members at some steps down as that of one of them; the steps."""
    members[read] = set().union(*(members.pop((read[0], offset)) for offset in sorted(offsets)))
    return offsets


def _largest(sets: Collection[Aligned]) -> frozenset[Aligned]:
    return frozenset(one for one in sets if one and not any(one < other for other in sets))
