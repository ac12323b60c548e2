"""A compiled guide for every pattern of evidence: rows of different patterns side by side, what each latent reads by masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..conditionals.masked import Masked
from ..conditionals.ports import Port
from ..families import Noise, noise
from ..graph import GraphError
from ..network import SubsetRecognition, build_conditionals
from .guide import Guide
from .model import Model
from .schedule import Conditionals

__all__ = ["Evidence", "Patterned", "SubsetGuide"]


@dataclass(frozen=True)
class Patterned:
    """Rows with a pattern each: `present` by node whether it is observed, `reads` by latent the encoded numbers that it reads, `drawn` by latent where it is the guide's."""

    present: dict[str, Tensor]
    reads: dict[str, Tensor]
    drawn: dict[str, Tensor]

    def known(self, name: str) -> Tensor | None:
        """Where a node is observed or drawn by the guide; None where it is neither in any row."""
        there, drawn = self.present.get(name), self.drawn.get(name)
        return drawn if there is None else there if drawn is None else there | drawn


class Evidence(NamedTuple):
    """Rows of evidence: every slot's value, something legal where it is unobserved; the patterns; missing cells within values; how many rows."""

    values: dict[str, Tensor]
    masks: Patterned
    holes: dict[str, Tensor]
    rows: int


class SubsetGuide(nn.Module):
    """q(unobserved | observed) for any subset of the observed; rows may differ in their pattern.

    For each latent one network, read through a mask: `q(v | what v reads in this pattern)`. Unobserved nodes on which nothing observed
    depends take the model's own conditional, and are left to the model.
    """

    is_guide = True
    random: tuple[str, ...] = ()                                            # a marginal is read off the draws

    def __init__(self, net: SubsetRecognition):
        super().__init__()
        model = net.model
        self.net = net
        self.slots = net.slots
        self.ports = {name: Port(name, model[name].space, model[name].shape) for name in self.slots}
        widths = [self.ports[name].features for name in self.slots]
        self.register_buffer("owner", torch.arange(len(self.slots)).repeat_interleave(torch.tensor(widths)), persistent=False)
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        every, learned = set(net.subset.nodes), set(net.reads(net.subset.nodes))
        for name in net.subset.nodes:
            learned |= set(net.reads(every - {name}))
        self.learned = tuple(name for name in net.order if name in learned)
        built = build_conditionals(net.networks, {}, skip=set(net.order) - learned)
        self.parts = Conditionals({name: built[name] for name in self.learned})

    @property
    def device(self) -> torch.device:
        return self.anchor.device

    # ---- patterns

    def at(self, observed: str | Iterable[str], *, share: Model | None = None) -> Guide:
        """The guide of one pattern, parameters shared: for Pyro, diagnostics, and whatever else takes a guide.

        Raises:
            GraphError: a pattern that the guide is not trained for, one that leaves nothing to infer.
        """
        net = self.net.at(observed)
        made = {
            name: Masked(name, net[name], [self.ports[parent] for parent in net[name].parents], self.parts[name], self.owner, self.slots)
            for name in net.order if name in self.learned and name not in net.own and name not in net.inputs
        }
        return Guide.of(net, share, made).to(self.device)

    def patterned(self, present: Mapping[str, Tensor], rows: int) -> Patterned:
        """What is read where, for rows that have some of the nodes of the subset; `present` are masks `(rows,)`, by node."""
        names = self.net.subset.nodes
        table = torch.stack([present[name].reshape(-1).expand(rows) if name in present else torch.zeros(rows, dtype=torch.bool) for name in names], 1).cpu()
        kinds, which = table.unique(dim=0, return_inverse=True)
        for kind in kinds[~self.net.subset.occurring(kinds)].tolist():
            self.net.check([name for name, there in zip(names, kind) if there])
        known = torch.zeros(len(kinds), len(self.slots), dtype=torch.bool, device="cpu")
        known[:, [self.slots.index(name) for name in names]] = kinds
        known[:, [self.slots.index(name) for name in self.net.model.inputs]] = True
        found, taken = (part.to(self.device)[which.to(self.device)] for part in self.net.boundaries(known))
        at = {name: self.slots.index(name) for name in self.learned}
        reads, drawn = {name: found[:, at[name], self.owner] for name in at}, {name: taken[:, at[name]] for name in at}
        there = {name: table[:, place].to(self.device) for place, name in enumerate(names)}
        return Patterned({**there, **{name: torch.ones(rows, dtype=torch.bool, device=self.device) for name in self.net.model.inputs}}, reads, drawn)

    def rows(self, model: Model, values: Mapping[str, Tensor], holes: Mapping[str, Tensor]) -> Evidence:
        """Rows of data with their patterns: columns that are there, with rows in front, and where their cells are missing.

        Raises:
            GraphError: a column that is not among the nodes that may be observed, a pattern that is not trained for, a value of which others depend and parts are missing.
        """
        for name in values:
            if name in model.random and name not in self.net.subset.nodes:
                self.net.check({name})
        rows, filled, present, within = len(next(iter(values.values()))) if values else 1, {}, {}, {}
        for name in self.slots:
            if name not in values:
                filled[name] = model.net[name].space.example((rows, *model.net[name].shape), self.anchor)
                continue
            filled[name] = values[name]
            if name not in model.random:
                continue
            hole = holes.get(name)
            gone = torch.zeros(rows, dtype=torch.bool, device=self.device) if hole is None else hole.reshape(rows, -1).all(1)
            present[name] = ~gone
            if hole is not None and bool((hole.reshape(rows, -1).any(1) & ~gone).any()):
                if [child for child in model.net.dag.children(name)]:
                    raise GraphError(
                        f"node {name!r}: cells are missing within its value, and {model.net.dag.children(name)[0]!r} depends on it; declare its elements as nodes of their "
                        f"own, or leave these rows out"
                    )
                within[name] = hole
        return Evidence(filled, self.patterned(present, rows), within, rows)

    # ---- evaluation

    def encoded(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each node's value as networks read it, `(*worlds, numbers)`."""
        return {name: self.ports[name].encode_flat(values[name], self.anchor) for name in values if name in self.ports}

    def prepare(self, name: str, parts: Mapping[str, Tensor], masks: Patterned, there: Tensor | None = None) -> object:
        """What a latent's conditional is prepared with: the numbers that it reads, zero in place of the others, and which they are."""
        worlds = torch.broadcast_shapes(*(part.shape[:-1] for part in parts.values()), masks.reads[name].shape[:-1])
        flat = torch.cat([part.expand(*worlds, part.shape[-1]) for part in (parts[slot] for slot in self.slots)], -1)
        mask = masks.reads[name] if there is None else masks.reads[name] & there
        return self.parts[name].prepare(torch.cat([torch.where(mask, flat, 0.0), mask.expand(flat.shape).to(flat.dtype)], -1))

    def hidden(self, rows: int) -> Tensor | None:
        """Which encoded numbers are there where cells of observed values are hidden at random as training asks, `(rows, numbers)`; None where none are."""
        shares = {name: share for name, share in zip(self.net.subset.nodes, self.net.subset.shares) if share < 1 and self.net.model[name].shape}
        if not shares:
            return None
        there = torch.ones(rows, len(self.owner), dtype=torch.bool, device=self.device)
        for name, share in shares.items():
            there[:, self.owner == self.slots.index(name)] = self._there(name, torch.rand((rows, *self.net.model[name].shape), device=self.device) >= share)
        return there

    def surprisals(self, values: Mapping[str, Tensor], masks: Patterned, there: Tensor | None = None, *, learning: bool = False) -> Tensor:
        """-log q of what each row leaves unobserved, at its value, `(rows,)`, or what is minimised in its place; `there` as for `draw`."""
        parts, rows = self.encoded(values), len(next(iter(masks.present.values())))
        total = self.anchor.new_zeros(rows)
        for name in self.learned:
            score = self.parts[name].training_losses if learning else self.parts[name].surprisals
            term = _summed(score(values[name], self.prepare(name, parts, masks, there)), 1)
            there = self._also(there, name, masks)
            total = total + torch.where(masks.drawn[name], term, 0.0)
        return total

    def draw(self, values: Mapping[str, Tensor], masks: Patterned, worlds: Sequence[int], there: Tensor | None = None, noise: Noise = noise) -> tuple[dict[str, Tensor], Tensor]:
        """The values with the guide's latents drawn where they are unobserved, and -log q of them, `worlds`.

        Args:
            values: every slot's value `(rows, *event)`, something legal where it is unobserved.
            there: which encoded numbers are there, `(rows, numbers)`, where parts of values are missing.
        """
        found, parts = dict(values), self.encoded(values)
        total = self.anchor.new_zeros(tuple(worlds))
        for name in self.learned:
            prepared = self.prepare(name, parts, masks, there)
            drawn = self.parts[name].draw(tuple(worlds), prepared, noise)
            total = total + torch.where(masks.drawn[name], _summed(self.parts[name].surprisals(drawn, prepared), len(worlds)), 0.0)
            where = masks.drawn[name].reshape(-1, *(1,) * (drawn.ndim - len(worlds)))
            found[name] = torch.where(where, drawn, found[name])
            parts[name] = self.ports[name].encode_flat(found[name], self.anchor)
            there = self._also(there, name, masks)
        return found, total

    def _also(self, there: Tensor | None, name: str, masks: Patterned) -> Tensor | None:
        """What is there once a latent has a value."""
        return None if there is None else there | (masks.drawn[name].unsqueeze(-1) & (self.owner == self.slots.index(name)))

    def weighed(self, model: Model, evidence: Evidence, particles: int, noise: Noise = noise) -> tuple[dict[str, Tensor], Tensor]:
        """Draws, and log p(observed, drawn) - log q(drawn | observed), `(particles, rows)`."""
        values, masks, holes, _ = evidence
        there, worlds = None, (particles, evidence.rows)
        if holes:
            there = torch.cat([self._there(name, holes[name]) if name in holes else torch.ones(evidence.rows, self.ports[name].features, dtype=torch.bool, device=self.device) for name in self.slots], -1)
        found, surprisal = self.draw(values, masks, worlds, there, noise)
        for node in model.schedule:
            if node.deterministic:
                found[node.name] = model.compute(node, found, {})
                continue
            value = found[node.name]
            term = node.conditional.surprisals(value, node.prepare(found))
            if node.name in holes:
                term = torch.where(holes[node.name], 0.0, term)
            known = masks.known(node.name)
            if known is not None:
                whole = term.expand(torch.broadcast_shapes(term.shape, value.shape[: value.ndim - node.joint]))
                surprisal = surprisal - torch.where(known, _summed(whole, whole.ndim - node.event_rank + node.joint), 0.0)
        return found, surprisal.expand(worlds)

    def completed(self, model: Model, found: Mapping[str, Tensor], evidence: Evidence, particles: int) -> dict[str, Tensor]:
        """The draws with what neither the data nor the guide has, drawn from the model."""
        masks, holes, every = evidence.masks, evidence.holes, dict(found)
        for node in model.schedule:
            if node.deterministic:
                every[node.name] = model.compute(node, every, {})
                continue
            known = masks.known(node.name)
            hole = holes.get(node.name)
            if known is not None and bool(known.all()) and hole is None:
                continue
            made = model.draw(node, node.prepare(every), (particles, evidence.rows), {}, noise)
            keep = torch.zeros((), dtype=torch.bool, device=made.device) if known is None else known.reshape(-1, *(1,) * node.event_rank)
            every[node.name] = torch.where(keep if hole is None else keep & ~hole, every[node.name], made) if node.name in every else made
        return every

    def _there(self, name: str, hole: Tensor) -> Tensor:
        """Which of the numbers that a network reads of a value are there."""
        return ~hole.reshape(len(hole), -1).repeat_interleave(self.ports[name].features // hole[0].numel(), -1)

    def __repr__(self) -> str:
        return f"SubsetGuide(\n{self.net!r}\n)"


def _summed(term: Tensor, batch: int) -> Tensor:
    """A term, added up over all but the leading dimensions."""
    return term.flatten(batch).sum(-1) if term.ndim > batch else term
