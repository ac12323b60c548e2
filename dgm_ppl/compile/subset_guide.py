"""A compiled guide for every pattern of evidence: rows of different patterns side by side, what each latent reads by masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..conditionals.masked import Group, Masked
from ..conditionals.ports import Port, broadcast_batch
from ..families import Noise, noise
from ..graph import GraphError
from ..network import SubsetRecognition, build_conditionals
from ..network.boundaries import Boundaries
from .guide import Guide
from .model import Model
from .reduction import PerWorld
from .schedule import Conditionals

__all__ = ["Evidence", "Patterned", "SubsetGuide"]


@dataclass(frozen=True)
class Patterned:
    """Rows with a pattern each: `present` by node whether it is observed, `reads` by latent the slots that it reads, `(rows, slots)`, `drawn` by latent where it is the guide's."""

    present: dict[str, Tensor]
    reads: dict[str, Tensor]
    drawn: dict[str, Tensor]

    def known(self, name: str) -> Tensor | None:
        """Where a node is observed or drawn by the guide; None where it is neither in any row."""
        there, drawn = self.present.get(name), self.drawn.get(name)
        return drawn if there is None else there if drawn is None else there | drawn


class Evidence(NamedTuple):
    """Rows of evidence, aligned: every slot's value, something legal where it is unobserved; the patterns; missing cells within values; how many rows; plates' sizes."""

    values: dict[str, Tensor]
    masks: Patterned
    holes: dict[str, Tensor]
    rows: int
    sizes: dict[str, int]


class SubsetGuide(nn.Module):
    """q(unobserved | observed) for any subset of the observed; rows may differ in their pattern.

    For each latent one network, read through a mask: `q(v | what v reads in this pattern)`. Unobserved nodes on which nothing observed
    depends take the model's own conditional, and are left to the model. Values are aligned, `(*worlds, *plates, *event)`.
    """

    is_guide = True
    random: tuple[str, ...] = ()                                            # a marginal is read off the draws

    def __init__(self, net: SubsetRecognition):
        super().__init__()
        model = net.model
        self.net = net
        self.slots, self.rank = net.slots, len(model.plates)
        self.ports = {name: Port(name, model[name].space, model[name].shape) for name in self.slots}
        for at, group in enumerate(net.groups.values()):
            widths = [self.ports[name].features for name in group]
            self.register_buffer(f"owner{at}", torch.tensor([self.slots.index(name) for name in group]).repeat_interleave(torch.tensor(widths)), persistent=False)
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        every, learned = set(net.subset.nodes), set(net.reads(net.subset.nodes))
        for name in net.subset.nodes:
            learned |= set(net.reads(every - {name}))
        self.learned = tuple(name for name in net.order if name in learned)
        self.boundaries, networks = Boundaries(model.dag, net.slots, net.order), net.networks
        self.inner = Model(networks, build_conditionals(networks, {}, skip=set(net.order) - learned), {})

    @property
    def parts(self) -> Conditionals:
        """The conditional of each latent given the groups of what is known."""
        return self.inner.conditionals

    @property
    def owners(self) -> dict[str, Tensor]:
        """For each group the slot that each of its numbers belongs to."""
        return {group: getattr(self, f"owner{at}") for at, group in enumerate(self.net.groups)}

    @property
    def device(self) -> torch.device:
        return self.anchor.device

    def forward(self, data: object = None) -> None:
        raise GraphError(f"guide: a Pyro program samples the same sites in all rows, which is one pattern; take its guide: guide.at({self.net.example!r})")

    # ---- patterns

    def at(self, observed: str | Iterable[str], *, share: Model | None = None) -> Guide:
        """The guide of one pattern, parameters shared: for Pyro, diagnostics, and whatever else takes a guide.

        Raises:
            GraphError: a pattern that the guide is not trained for, one that leaves nothing to infer.
        """
        net = self.net.at(observed)
        groups = {group: Group(names, self.owners[group], self.inner.layout.members[group]) for group, names in self.net.groups.items()}
        made = {
            name: Masked(name, net[name], [self.ports[parent] for parent in net[name].parents], self.parts[name], [groups[group] for group in self.inner.nodes[name].parents], self.slots)
            for name in net.order if name in self.learned and name not in net.own and name not in net.inputs
        }
        return Guide.of(net, share, made).to(self.device)

    def patterned(self, present: Mapping[str, Tensor], rows: int, *, checked: bool = False) -> Patterned:
        """What is read where, for rows that have some of the nodes of the subset.

        Args:
            present: by node of the subset, boolean `(rows,)`, or `()` or `(1,)` for all rows alike: where it is observed; nodes left out are observed nowhere.
            checked: the patterns are known to occur in training.

        Raises:
            GraphError: a name that is not among the nodes that may be observed, a mask of another type or shape, a pattern that is not trained for.
        """
        subset, nothing = self.net.subset, torch.zeros(rows, dtype=torch.bool, device=self.device)
        for name, mask in present.items():
            self._check_mask(name, mask, rows)
        table = torch.stack([present[name].to(self.device).expand(rows) if name in present else nothing for name in subset.nodes], 1)
        if not checked:
            kinds = table.cpu().unique(dim=0)
            for kind in kinds[~subset.occurring(kinds)].tolist():
                self.net.check([name for name, there in zip(subset.nodes, kind) if there])
        kinds, which = table.unique(dim=0, return_inverse=True) if self.device.type == "cpu" else (table, slice(None))     # elsewhere, all rows cost less than to wait
        found, taken = (part[which] for part in self.boundaries(self.net.table(kinds)))
        at = {name: self.slots.index(name) for name in self.learned}
        there = dict(zip(subset.nodes, table.unbind(1))) | {name: torch.ones_like(nothing) for name in self.net.model.inputs}
        return Patterned(there, {name: found[:, place] for name, place in at.items()}, {name: taken[:, place] for name, place in at.items()})

    def _check_mask(self, name: str, mask: object, rows: int) -> None:
        """Raises where a node or its mask is not what `patterned` takes."""
        if name in self.net.model.inputs:
            raise GraphError(f"guide: present: {name!r} is a Given input, which is always there; leave it out")
        if name not in self.net.subset.nodes:
            self.net.check({name})
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = f"a tensor of {mask.dtype}" if isinstance(mask, Tensor) else f"{type(mask).__name__} {mask!r}"
            raise GraphError(f"guide: present: expected for {name!r} a boolean tensor of shape ({rows},), True in the rows where it is observed; got {got}; try torch.as_tensor(mask).bool()")
        if mask.shape not in ((), (1,), (rows,)):
            shape, mend = tuple(mask.shape), "mask.reshape(-1)" if mask.numel() == rows else f"torch.ones({rows}, dtype=torch.bool)"
            raise GraphError(f"guide: present: expected for {name!r} a mask of shape ({rows},), one for each row, or one for all: (); got shape {shape}; try {mend}")

    def rows(self, model: Model, values: Mapping[str, Tensor], holes: Mapping[str, Tensor], *, checked: bool = False) -> Evidence:
        """Rows of data with their patterns: columns that are there, with rows in front, and where their cells are missing; `checked` says that they passed before.

        Raises:
            GraphError: a column that is not among the nodes that may be observed, a pattern that is not trained for, a value of which others depend and parts are missing.
        """
        for name in values:
            if name in model.random and name not in self.net.subset.nodes:
                self.net.check({name})
        layout, sizes = model.layout, model.layout.sizes(values)
        rows, filled, present, within = len(next(iter(values.values()))) if values else 1, {}, {}, {}
        for name in self.slots:
            if name not in values:
                filled[name] = model.net[name].space.example((*layout.batch(name, (rows,), sizes), *model.net[name].shape), self.anchor)
                continue
            filled[name] = layout.align(name, values[name])
            if name not in model.random:
                continue
            if name not in holes:
                present[name] = torch.ones(rows, dtype=torch.bool, device=self.device)
                continue
            hole = holes[name]
            present[name] = ~hole.reshape(rows, -1).all(1)
            if not checked and bool((hole.reshape(rows, -1).any(1) & present[name]).any()):
                self._check_within(model, name, hole)
            if not model.net.dag.children(name):                            # a row of others is there as a whole, or drawn
                within[name] = layout.align(name, hole)
        return Evidence(filled, self.patterned(present, rows, checked=checked), within, rows, sizes)

    def _check_within(self, model: Model, name: str, hole: Tensor) -> None:
        """Raises where parts of a value are missing and what is left of it cannot be scored by itself."""
        if children := model.net.dag.children(name):
            part = f"members of its plate {model.net.plates_of(name)[0]!r}" if model.net.plates_of(name) and not model.net[name].shape else "cells within its value"
            raise GraphError(f"node {name!r}: {part} are missing, and {children[0]!r} depends on it; declare its elements as nodes of their own, or leave these rows out")
        joint = tuple(range(-model.nodes[name].joint, 0)) if model.nodes[name].joint else ()
        if joint and not bool((hole.any(joint) == hole.all(joint)).all()):
            raise GraphError(f"node {name!r} ~ {model.net[name].summary}: cells are missing within its value, whose elements hang together; declare them as nodes of their own, or leave these rows out")

    # ---- evaluation

    def encoded(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each node's value as networks read it, `(*worlds, *plates, numbers)`."""
        return {name: self.ports[name].encode_flat(values[name], self.anchor) for name in values if name in self.ports}

    def prepare(self, name: str, parts: Mapping[str, Tensor], masks: Patterned, there: Mapping[str, Tensor] = {}) -> object:
        """What a latent's conditional is prepared with: the numbers that it reads, zero in place of the others, and which they are."""
        groups, node, owners, reads = self.net.groups, self.inner.nodes[name], self.owners, masks.reads[name]
        found = {}
        for group in node.parents:
            flat = _side_by_side([parts[slot] for slot in groups[group]])
            mask = reads[:, owners[group]]
            mask = mask.reshape(len(mask), *(1,) * self.rank, mask.shape[-1]).expand(*flat.shape[-2 - self.rank:] if flat.ndim > 1 + self.rank else flat.shape)
            if any(slot in there for slot in groups[group]):
                whole = torch.ones((), dtype=torch.bool, device=self.device)
                mask = mask & _side_by_side([there[slot] if slot in there else whole.expand(parts[slot].shape[-1:]) for slot in groups[group]])
            found[group] = torch.cat([torch.where(mask, flat, 0.0), mask.expand(flat.shape).to(flat.dtype)], -1)
        return node.prepare(found)

    def hidden(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By node which encoded numbers are there, where cells of observed values are hidden at random as training asks."""
        model, found = self.net.model, {}
        for name, (low, high) in zip(self.net.subset.nodes, self.net.subset.shares):
            if low < 1 and (model[name].shape or model.plates_of(name)):
                value = values[name]
                share = low + (high - low) * torch.rand(len(value), *(1,) * (value.ndim - 1), device=self.device)
                found[name] = self._there(name, torch.rand(value.shape, device=self.device) >= share)
        return found

    def surprisals(self, values: Mapping[str, Tensor], masks: Patterned, there: Mapping[str, Tensor] = {}, *, learning: bool = False) -> Tensor:
        """-log q of what each row leaves unobserved, at its value, `(rows,)`, or what is minimised in its place; `there` as for `draw`."""
        parts, rows, reduce = self.encoded(values), len(next(iter(masks.present.values()))), PerWorld()
        total = self.anchor.new_zeros(rows)
        for name in self.learned:
            score = self.parts[name].training_losses if learning else self.parts[name].surprisals
            term = reduce(self.inner.nodes[name], score(values[name], self.prepare(name, parts, masks, there)), values[name])
            total = total + torch.where(masks.drawn[name], term, 0.0)
        return total

    def draw(
        self, values: Mapping[str, Tensor], masks: Patterned, worlds: Sequence[int], there: Mapping[str, Tensor] = {}, noise: Noise = noise, sizes: Mapping[str, int] = {},
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The values with the guide's latents drawn where they are unobserved, and -log q of them, `worlds`.

        Args:
            values: every slot's value `(rows, *plates, *event)`, something legal where it is unobserved.
            there: by node which encoded numbers are there, where parts of values are missing.
        """
        found, parts, reduce = dict(values), self.encoded(values), PerWorld()
        total = self.anchor.new_zeros(tuple(worlds))
        for name in self.learned:
            node, prepared = self.inner.nodes[name], self.prepare(name, parts, masks, there)
            drawn = self.inner.draw(node, prepared, worlds, sizes, noise)
            total = total + torch.where(masks.drawn[name], reduce(node, node.conditional.surprisals(drawn, prepared), drawn), 0.0)
            where = masks.drawn[name].reshape(-1, *(1,) * (drawn.ndim - len(worlds)))
            found[name] = torch.where(where, drawn, found[name])
            parts[name] = self.ports[name].encode_flat(found[name], self.anchor)
        return found, total

    def weighed(self, model: Model, evidence: Evidence, particles: int, noise: Noise = noise) -> tuple[dict[str, Tensor], Tensor]:
        """Draws, and log p(observed, drawn) - log q(drawn | observed), `(particles, rows)`."""
        found, surprisal = self.drawn(evidence, particles, noise)
        return self.scored(model, found, surprisal, evidence)

    def drawn(self, evidence: Evidence, particles: int, noise: Noise = noise) -> tuple[dict[str, Tensor], Tensor]:
        """So many draws for each row of evidence, as `draw` gives them."""
        return self.draw(evidence.values, evidence.masks, (particles, evidence.rows), self.there(evidence), noise, evidence.sizes)

    def there(self, evidence: Evidence) -> dict[str, Tensor]:
        """By node with missing cells which encoded numbers are there."""
        return {name: self._there(name, hole) for name, hole in evidence.holes.items()}

    def scored(self, model: Model, drawn: Mapping[str, Tensor], surprisal: Tensor, evidence: Evidence) -> tuple[dict[str, Tensor], Tensor]:
        """The values with what follows from them, and their log p added to -log q of what is drawn, `(particles, rows)`."""
        _, masks, holes, _, sizes = evidence
        found, reduce, worlds = dict(drawn), PerWorld(), surprisal.shape
        for node in model.schedule:
            if node.deterministic:
                found[node.name] = model.compute(node, found, sizes)
                continue
            value = found[node.name]
            term = node.conditional.surprisals(value, node.prepare(found))
            if node.name in holes:
                hole = holes[node.name]
                term = torch.where(hole.all(tuple(range(-node.joint, 0))) if node.joint else hole, 0.0, term)
            known = masks.known(node.name)
            if known is not None:
                surprisal = surprisal - torch.where(known, reduce(node, term, value), 0.0)
        return found, surprisal.expand(worlds)

    def completed(self, model: Model, found: Mapping[str, Tensor], evidence: Evidence, particles: int) -> dict[str, Tensor]:
        """The draws with what neither the data nor the guide has, drawn from the model."""
        masks, holes, every = evidence.masks, evidence.holes, dict(found)
        for node in model.schedule:
            if node.deterministic:
                every[node.name] = model.compute(node, every, evidence.sizes)
                continue
            known = masks.known(node.name)
            hole = holes.get(node.name)
            if known is not None and bool(known.all()) and hole is None:
                continue
            made = model.draw(node, node.prepare(every), (particles, evidence.rows), evidence.sizes, noise)
            keep = torch.zeros((), dtype=torch.bool, device=made.device) if known is None else known.reshape(-1, *(1,) * (self.rank + node.event_rank))
            every[node.name] = torch.where(keep if hole is None else keep & ~hole, every[node.name], made) if node.name in every else made
        return every

    def _there(self, name: str, hole: Tensor) -> Tensor:
        """Which of the numbers that a network reads of a value are there, `(rows, *plates, numbers)`, from an aligned mask of missing cells."""
        event = len(self.net.model[name].shape)
        cells = hole.flatten(-event) if event else hole.unsqueeze(-1)
        return ~cells.repeat_interleave(self.ports[name].features // cells.shape[-1], -1)

    def __repr__(self) -> str:
        return f"SubsetGuide(\n{self.net!r}\n)"


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Tensors joined in their last dimension, the others broadcast."""
    return torch.cat(broadcast_batch(parts, [1] * len(parts)), -1)
