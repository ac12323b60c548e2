"""What a latent of a sequence has to read, found by d-separation on the steps written out.

A guide draws the latents of a sequence one after the other. The nodes that one of them depends on, given all others that are known by then, are its Markov
boundary among them; where the model repeats, so does the boundary, and it is read off at a step in the middle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .dag import DAG

__all__ = ["Sight", "sight"]

Place = tuple[str, int | None]
"""A node and its step; no step where it is in no chain."""


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


def sight(dag: DAG, places: Mapping[str, Place], latent: str, known: Collection[str], *, reach: int, along: Collection[str] | None = None, drawn: Collection[str] = (), all_known: bool = False) -> Sight:
    """What one latent, at a step in the middle or in no chain, depends on among what is known.

    Arguments:
        dag: the model's graph with all steps written out, deterministic nodes contracted away.
        places: the node and step of each of its nodes.
        latent: the latent, at its step.
        known: what the guide knows when it draws the latent.
        reach: how many steps away a single step is still read by itself; what is needed further away is needed at all steps there.
        along: the nodes of the latent's chain, none where it is in no chain; all nodes with steps where left out.
        drawn: nodes that the guide draws, whose values at the same step are read by themselves.
        all_known: read everything known, needed or not.

    >>> dag = DAG("z0 -> z1 -> z2 -> z3 -> z4, z0 -> x0, z1 -> x1, z2 -> x2, z3 -> x3, z4 -> x4")
    >>> places = {name: (name[0], int(name[1])) for name in dag}
    >>> sight(dag, places, "z2", ["z0", "z1", "x0", "x1", "x2", "x3", "x4"], reach=1)
    Sight(outside=(), near=(('z', -1),), before=(), after=(('x', 0),), whole=())
    """
    needed = [one for one in known if all_known or not dag.independent(latent, one, given=[other for other in known if other != one])]
    here = places[latent][1]
    whole: dict[str, None] = {}
    offsets: dict[str, list[int]] = {}
    for one in needed:
        node, step = places[one]
        if step is not None and along is not None and node not in along:
            whole[node] = None
        elif step is not None:
            offsets.setdefault(node, []).append(step - here)
    near: list[tuple[str, int]] = []
    before: list[tuple[str, int]] = []
    after: list[tuple[str, int]] = []
    for node, found in offsets.items():
        back, ahead, apart = min(found) < -reach, max(found) > reach, node in drawn
        rest = set(found)
        if ahead:
            after.append((node, min(offset for offset in found if offset >= apart)))
            rest -= {offset for offset in rest if offset >= after[-1][1]}
        if back:
            before.append((node, max(offset for offset in rest if offset <= -apart)))
            rest -= {offset for offset in rest if offset <= before[-1][1]}
        near += [(node, offset) for offset in sorted(rest)]
    return Sight(tuple(dict.fromkeys(places[one][0] for one in needed if places[one][1] is None)), tuple(near), tuple(before), tuple(after), tuple(whole))
