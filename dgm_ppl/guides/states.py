"""The encoders of a guide over chains: states that read sequences, and summaries of the members of plates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import torch

from ..families import Constant, Delta, Ref, Variable, free
from ..families.lags import Lag, lag, lead, node_of
from ..graph.sequences import Sight
from ..nets import SetNet
from ..nets.attention_state import AttentionState
from ..nets.recurrent_state import RecurrentState
from .passes import Unrolled, View

__all__ = ["States"]

Name = str | Lag
Plates = frozenset[str]
Entries = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Item:
    """Something that a latent reads, and the sets of plates that it shares with the latent, over all members of which it is read too."""

    name: Name
    across: frozenset[Plates] = frozenset()


class States:
    """The encoders of a guide: one state for each set of nodes that are needed at all steps before or after; latents that need the same share it.

    A state is in the plates of what it reads. Where a latent is not in one of them, its members are summed up by a network over sets: step by step before the
    state, where nothing joins members at one step to members at another, else the states of the members after it.
    """

    def __init__(self, unrolled: Unrolled, net: RecurrentState | AttentionState, pool: SetNet, masks: Mapping[str, str], told_apart: Mapping[str, int]):
        self.unrolled, self.model, self.net, self.pool, self.masks, self.told_apart = unrolled, unrolled.model, net, pool, masks, told_apart
        self.variables: dict[str, Variable] = {}
        self.inside: dict[str, Plates] = {name: frozenset(self.model.plates_of(name)) for name in self.model}
        self.inside |= {mask: self.inside[name] for name, mask in masks.items()}
        self._made: dict[tuple, str] = {}

    def parents(self, latent: str, view: View, always: bool, whole: bool) -> list[Name]:
        """What a latent reads, encoders included.

        `always`: one network for all steps, as a module cannot do with fewer parents at the first of them.
        `whole`: its network reads members of plates in which it is not as a set; else a summary of them stands for them.
        """
        plates, seen = self.inside[latent], view.sight
        items = [Item(name, seen.across.get((node, None), frozenset())) for node in seen.outside for name in self.masked([node])]
        items += self._summaries(plates, view)
        items += self._near(plates, seen, always)
        items += self._states(plates, view)
        items += map(Item, self._which(plates))
        found = [item.name for item in items if self.inside[_node(item.name)] <= plates]
        return [*found, *(name for name in self._members(plates, items, whole) if name not in found)]

    def _members(self, plates: Plates, items: Sequence[Item], whole: bool) -> Iterator[Name]:
        """The members of plates in which a latent is not, or a summary of them, and summaries of those of which it reads others than its own."""
        for across in dict.fromkeys((frozenset(), *(one for item in items for one in item.across))):
            own = plates - across
            read = [item.name for item in items if not self.inside[_node(item.name)] <= own and (not across or across in item.across)]
            if read and whole and not across:
                yield from (*read, *self._which(frozenset().union(*(self.inside[_node(name)] for name in read))))
            elif read:
                yield self._pooled(own, read)

    def _pooled(self, own: Plates, read: Sequence[Name]) -> str:
        """A summary of what stands in plates, joined member by member, in those of them that are its own."""
        around = frozenset().union(*(self.inside[_node(name)] for name in read))
        read = (*read, *self._which(around))
        return self._make(("members", own, tuple(map(repr, read))), "members", own & around, lambda name: Delta(self.net.width).given(*read, net=copy(self.pool)))

    def _which(self, plates: Plates) -> Iterator[str]:
        """For plates whose members are told apart, nodes that say which one it is."""
        for plate, size in self.told_apart.items():
            if plate in plates:
                yield self._make(("which", plate), "which", frozenset({plate}), lambda _: Delta(size, v=torch.eye(size).numpy()))

    def _states(self, plates: Plates, view: View) -> Iterator[Item]:
        """The states that a latent reads."""
        seen = view.sight
        for back, entries in ((1, seen.before), (-1, seen.after)):
            for across in _ways(seen, entries):
                chosen = tuple(entry for entry in entries if seen.across.get(entry, frozenset()) == across)
                nearest = min(abs(offset) for _, offset in chosen)          # all further away: the state of that step is read
                moved = tuple((node, offset + back * nearest) for node, offset in chosen)
                name = self._state(back, moved, plates, view)
                yield Item(lag(name, nearest, initial=free()) if nearest and back > 0 else lead(name, nearest, initial=free()) if nearest else name, across)

    def _summaries(self, plates: Plates, view: View) -> Iterator[Item]:
        """Nodes outside chains that sum up sequences which a latent reads whole: the state from the end, at the first step."""
        seen = view.sight
        for chain in self.model.chains:
            nodes = [(node, None) for node in seen.whole if node in self.model.plates[chain].nodes]
            for across in _ways(seen, nodes):
                state = self._state(-1, tuple((node, 0) for node, _ in nodes if seen.across.get((node, None), frozenset()) == across), plates, view)
                yield Item(self._make(("summary", state), "summary", self.inside[state] - {chain}, lambda _: Delta(self.net.width, v=Ref(state)[0])), across)

    def _state(self, back: int, entries: Entries, plates: Plates, view: View) -> str:
        chain = self.model.chain_of(entries[0][0]).name
        around = frozenset().union(*(self.inside[node] for node, _ in entries))
        ending = self.model.around(chain)                                   # members may end at steps of their own, and are not summed up at any
        gone = frozenset(plate for plate in around - plates - {chain} if plate not in ending and self.unrolled.apart_by_step(plate, view.settled))
        paired = tuple(node for node in view.sight.outside if self.inside[node] & gone)
        read = (*self._at_each_step(entries, around - gone, paired), *self._which(around - gone))

        def made(name: str) -> Variable:
            own = lag(name, initial=free()) if back > 0 else lead(name, initial=free())
            return Delta(self.net.width).given(own, *read, net=copy(self.net))

        return self._make((back, tuple(map(repr, read))), "before" if back > 0 else "after", around - gone, made)

    def _at_each_step(self, entries: Entries, own: Plates, paired: Sequence[str]) -> Iterator[Name]:
        """What a state reads at a step: nodes, and summaries of those in plates that it is not in, those without steps beside."""
        yield from self._read([entry for entry in entries if self.inside[entry[0]] <= own], True)
        pooled: dict[int, list[str]] = {}
        for node, offset in entries:
            if not self.inside[node] <= own:
                pooled.setdefault(offset, []).append(node)
        for offset, nodes in pooled.items():
            yield self._single(self._pooled(own, [*self.masked(paired), *self.masked(nodes)]), offset, True)

    def _near(self, plates: Plates, seen: Sight, always: bool) -> Iterator[Item]:
        """What a latent reads of single steps, with a flag for each number of steps where something has to stand for a step that does not exist."""
        flagged: dict[int, str] = {}
        for node, offset in seen.near:
            across = seen.across.get((node, offset), frozenset())
            filled = always or bool(across) or not self.inside[node] <= plates
            if offset > 0 or offset and filled:
                flagged[offset] = self.model.chain_of(node).name
            yield from (Item(name, across) for name in self._read([(node, offset)], filled))
        for offset, chain in sorted(flagged.items()):
            flag = self._make(("beyond", chain), "beyond", frozenset({chain}), lambda _: Delta(v=0.0))
            yield Item(lag(flag, -offset, initial=1.0) if offset < 0 else lead(flag, offset, initial=1.0))

    def masked(self, names: Iterable[str]) -> Iterator[str]:
        """Nodes, each followed by its mask where it has one."""
        for name in names:
            yield from (name, self.masks[name]) if name in self.masks else (name,)

    def _read(self, entries: Iterable[tuple[str, int]], always: bool) -> Iterator[Name]:
        for node, offset in entries:
            yield from (self._single(name, offset, always) for name in self.masked([node]))

    def _single(self, node: str, offset: int, always: bool) -> Name:
        if not offset:
            return node
        return lag(node, -offset, initial=self._example(node) if always else None) if offset < 0 else lead(node, offset, initial=self._example(node))

    def _example(self, node: str) -> Constant:
        if node not in self.model:
            return Constant(0.0)                                            # a mask, or a summary of members
        variable = self.model[node]
        return Constant(variable.space.example(variable.shape, torch.zeros(())).numpy())

    def _make(self, key: tuple, kind: str, inside: Plates, declared: Callable[[str], Variable]) -> str:
        """The node of an encoder, of a name that is free, made where there is none yet; `declared` is told its name."""
        if key not in self._made:
            name = kind
            while name in self.model or name in self.variables or name in self.model.plates:
                name += "_"
            self._made[key] = name
            self.inside[name] = inside
            self.variables[name] = declared(name)
        return self._made[key]

    def outside(self, latent: str, parents: Iterable[Name]) -> bool:
        """Whether a latent reads members of plates in which it is not."""
        return any(not self.inside[_node(name)] <= self.inside[latent] for name in parents)


def _node(name: Name) -> str:
    return node_of(name.name) if isinstance(name, Lag) else name


def _ways(seen: Sight, reads: Iterable[tuple[str, int | None]]) -> dict[frozenset[Plates], None]:
    return dict.fromkeys(seen.across.get(read, frozenset()) for read in reads)
