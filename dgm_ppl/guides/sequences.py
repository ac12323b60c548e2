"""Guides over chains: each latent of a step reads those drawn before it that its posterior depends on, and encoders that read the sequence.

The steps are drawn from the start (each latent then needs what is still to come: an encoder reads the observations from the end, as in deep
Markov models; Krishnan et al., 2017, https://arxiv.org/abs/1609.09869) or from the end (an encoder reads them from the start).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..conditionals.denoising import Denoising
from ..families import Constant, Delta, Given, Ref, Variable, free
from ..families.lags import Lag, lag, lead, node_of
from ..graph import Faithful, Full, GraphError, MeanField, MinFill, Reverse, Structure, Topological, did_you_mean
from ..graph.sequences import Sight, sight
from ..graph.structures import Forward
from ..nets import MLP, Net
from ..nets.attention_state import AttentionState
from ..nets.recurrent_state import RecurrentState
from ..network import OBSERVED, BayesNet, Chain, SequenceGuide, random_dag
from ..network.unrolling import at_step
from .recognition import Recognition, recognition_variable

__all__ = ["sequence_guide"]


@dataclass(frozen=True)
class Turn:
    """In which order the guide draws: the latents of a step, and the steps from the start (1) or from the end (-1)."""

    latents: tuple[str, ...]
    direction: int


def sequence_guide(
    model: BayesNet, observed: Sequence[str], structure: Structure, order: Any, *, net: Any, nets: Mapping[str, Any], encoder: Net | None, family: Recognition,
    families: Mapping[str, Any], missing: Sequence[str] = (),
) -> SequenceGuide:
    """The guide of a net with chains, for the nodes that are observed (checked, inputs among them)."""
    _check_plates(model)
    latents = _latents(model, observed)
    for option, given in (("nets", nets), ("families", families)):
        for name in given:
            if name not in latents:
                raise GraphError(f"amortize: {option} names {name!r}, which is no latent that needs a recognition network{did_you_mean(name, latents)}")
    if isinstance(net, nn.Module) and len([latent for latent in latents if latent not in nets]) > 1:
        raise GraphError(f"amortize: one module cannot serve the latents {list(latents)}; give a builder such as net=dgm.MLP(128), or one module each: nets={{...}}")
    turn = _turn(model, latents, structure, order)
    states = States(model, _encoder(encoder, net), _masks(model, observed, missing))
    variables: dict[str, Variable] = {name: Variable(None, model[name].shape, size=model[name].size, labels=model[name].labels, declared_space=model[name].space) for name in observed}
    variables |= {mask: Given(*model[name].shape) for name, mask in states.masks.items()}
    learned = {}
    for latent, seen in _sights(model, observed, latents, turn, structure).items():
        variable = recognition_variable(latent, model[latent], families.get(latent), family)
        if isinstance(variable.family, Denoising):
            raise GraphError(f"amortize: {variable.family.name} is no family for {latent!r}, a latent of the chain {model.chains[0]!r}: its steps are drawn one after another; try dgm.Flow(...)")
        network = nets[latent] if latent in nets else net if isinstance(net, nn.Module) else copy(net)
        parents = [*states.masked(seen.outside), *states.summaries(seen), *states.near(seen, isinstance(network, nn.Module)), *states.reading(seen)]
        learned[latent] = variable.given(*parents, net=network) if parents else variable
    variables |= states.variables | learned
    inside = {chain: [name for name in variables if name.removesuffix(OBSERVED) in model.plates[chain].nodes or name in model.plates[chain].nodes or states.chains.get(name) == chain] for chain in model.chains}
    return SequenceGuide(variables, model=model, plates={chain: Chain(nodes, model.plates[chain].size) for chain, nodes in inside.items()})


# ---- what is refused


def _check_plates(model: BayesNet) -> None:
    beside = [name for name in model.plates if name not in model.chains]
    if beside:
        raise GraphError(
            f"amortize: the net has the chain {model.chains[0]!r} beside the plates {beside}; guides are derived over chains alone; make the members of a plate an event, "
            f"such as dgm.Normal(5), or write the guide as a BayesNet over the same plates"
        )
    for name in model:
        own = model.chain_of(name)
        across = [parent for parent in map(node_of, model[name].all_parents) if own is not None and model.chain_of(parent) not in (None, own)]
        if across:
            raise GraphError(
                f"amortize: node {name!r} of the chain {own.name!r} reads all steps of {across[0]!r}, which is in the chain {model.chain_of(across[0]).name!r}; put both into one "
                f"chain, whose steps go side by side, or write the guide as a BayesNet over the same plates"
            )


def _masks(model: BayesNet, observed: Sequence[str], missing: Sequence[str]) -> dict[str, str]:
    """The input that says where the cells of a node are, for each node that may lack some."""
    for name in missing:
        if name not in observed or model[name].is_given:
            raise GraphError(f"amortize: missing names {name!r}, which is no observed random node{did_you_mean(name, observed)}; it names those whose cells may be missing (NaN)")
        if model.descendants(name):
            raise GraphError(
                f"amortize: missing names {name!r}, which {model.descendants(name)[0]!r} reads: where it is missing it would be a latent of its own; leave it out of missing, and fill its cells in"
            )
        if f"{name}{OBSERVED}" in model:
            raise GraphError(f"amortize: missing: the guide's mask of {name!r} would be called {name + OBSERVED!r}, as a node of the model is; rename that node")
    return {name: f"{name}{OBSERVED}" for name in missing}


def _latents(model: BayesNet, observed: Sequence[str]) -> tuple[str, ...]:
    """The latents on which something observed depends.

    Raises:
        GraphError: there is none.
    """
    above = model.ancestors(*(name for name in observed if not model[name].is_given))
    found = tuple(name for name in model.dag.order if name in above and name not in observed and not model[name].is_deterministic)
    if not found:
        raise GraphError(f"amortize: nothing latent: every node on which {list(observed)} depend is observed; leave one of them out of observed")
    return found


def _turn(model: BayesNet, latents: tuple[str, ...], structure: Structure, order: Any) -> Turn:
    asked = structure.order if isinstance(structure, Faithful) else order
    if isinstance(asked, str) and asked == "auto" or isinstance(asked, (MinFill, Reverse)):
        return Turn(_by_chain(model, [*_static(model, latents), *latents]), 1)
    if isinstance(asked, Topological):
        return Turn(_by_chain(model, [*_static(model, latents), *latents[::-1]]), -1)
    named = (asked,) if isinstance(asked, str) else tuple(asked) if isinstance(asked, Iterable) else ()
    if sorted(named) != sorted(latents):
        raise GraphError(
            f"amortize: order: over a chain expected the latents of a step in the order in which they are drawn, such as {list(latents)}, or dgm_ppl.graph.Reverse() (steps from the "
            f"start) or dgm_ppl.graph.Topological() (steps from the end); got {asked!r}"
        )
    return Turn(_by_chain(model, named), 1)


def _static(model: BayesNet, latents: Iterable[str]) -> list[str]:
    """The latents of whole sequences."""
    return [name for name in latents if model.chain_of(name) is None]


def _by_chain(model: BayesNet, latents: Iterable[str]) -> tuple[str, ...]:
    """Latents in order, once each, those of a chain together."""
    groups: dict[str, dict[str, None]] = {}
    for name in latents:
        chain = model.chain_of(name)
        groups.setdefault(f"node {name}" if chain is None else f"chain {chain.name}", {})[name] = None
    return tuple(name for group in groups.values() for name in group)


def _encoder(encoder: Net | None, net: Any) -> RecurrentState | AttentionState:
    if encoder is None:
        return RecurrentState(next(iter(net.hidden), 64) if isinstance(net, MLP) else 64)
    if not isinstance(encoder, (RecurrentState, AttentionState)):
        raise GraphError(f"amortize: encoder: expected the builder of a state, such as dgm.RecurrentState(64) or dgm.AttentionState(8); got {encoder!r}")
    return encoder


# ---- what each latent reads


def _reach(model: BayesNet) -> int:
    """How many steps the model's longest arrow goes, there and back."""
    lags = [abs(lagged.steps) for name in model for one in (model[name], *model[name].starts) for lagged in one.lags]
    return 2 * max(lags, default=1)


def _sights(model: BayesNet, observed: Sequence[str], latents: tuple[str, ...], turn: Turn, structure: Structure) -> dict[str, Sight]:
    """What each latent reads, in the order in which they are drawn."""
    reach = _reach(model)
    middle = reach + 2
    steps = 2 * middle + 1
    left = [name for name in model if name not in latents and name not in observed and not model[name].is_deterministic]
    dag = random_dag(model, steps, left)
    places = {name: (name, None) for name in model if model.chain_of(name) is None} | {at_step(name, step): (name, step) for name in model if model.chain_of(name) is not None for step in range(steps)}
    data = [name for name in dag if places[name][0] in observed]
    found = {}
    for position, latent in enumerate(turn.latents):
        chain = model.chain_of(latent)
        along = () if chain is None else chain.nodes
        here = latent if chain is None else at_step(latent, middle)
        drawn = [at_step(name, step) for name in turn.latents if name in along for step in range(steps) if (step - middle) * turn.direction < 0]
        drawn += [at_step(name, middle) for name in turn.latents[:position] if name in along]
        earlier = [name for name in turn.latents[:position] if name not in along]
        drawn += [copy for copy, (name, _) in places.items() if name in earlier]
        if isinstance(structure, MeanField):
            drawn = []
        elif isinstance(structure, Forward):
            drawn = [name for name in drawn if name in dag.parents(here)]
        found[latent] = sight(dag, places, here, [*drawn, *data], reach=reach, along=along, drawn=latents, all_known=isinstance(structure, Full))
    return found


class States:
    """The encoders of a guide: one state for each set of nodes that are needed at all steps before or after; latents that need the same share it."""

    def __init__(self, model: BayesNet, net: RecurrentState | AttentionState, masks: Mapping[str, str]):
        self.model, self.net, self.masks = model, net, masks
        self.variables: dict[str, Variable] = {}
        self.chains: dict[str, str | None] = {}
        self._flags: dict[str, str] = {}
        self._summaries: dict[str, str] = {}
        self._names: dict[tuple[int, tuple[tuple[str, int], ...]], str] = {}

    def reading(self, seen: Sight) -> Iterator[str | Lag]:
        """The states that a latent reads."""
        for back, entries in ((1, seen.before), (-1, seen.after)):
            if entries:
                nearest = min(abs(offset) for _, offset in entries)         # all further away: the state of that step is read
                moved = tuple((node, offset + back * nearest) for node, offset in entries)
                name = self._state(back, moved)
                yield lag(name, nearest, initial=free()) if nearest and back > 0 else lead(name, nearest, initial=free()) if nearest else name

    def summaries(self, seen: Sight) -> Iterator[str]:
        """Nodes outside chains that sum up sequences which a latent reads whole: the state from the end, at the first step."""
        for chain in self.model.chains:
            entries = tuple((node, 0) for node in seen.whole if node in self.model.plates[chain].nodes)
            if entries:
                state = self._state(-1, entries)
                if state not in self._summaries:
                    self._summaries[state] = name = self._free("summary")
                    self.variables[name], self.chains[name] = Delta(self.net.width, v=Ref(state)[0]), None
                yield self._summaries[state]

    def _state(self, back: int, entries: tuple[tuple[str, int], ...]) -> str:
        if (back, entries) not in self._names:
            name = self._free("before" if back > 0 else "after")
            own = lag(name, initial=free()) if back > 0 else lead(name, initial=free())
            self.variables[name] = Delta(self.net.width).given(own, *self._read(entries, True), net=copy(self.net))
            self.chains[name] = self.model.chain_of(entries[0][0]).name
            self._names[back, entries] = name
        return self._names[back, entries]

    def near(self, seen: Sight, always: bool) -> Iterator[str | Lag]:
        """What a latent reads of single steps, with a flag for each number of steps where something has to stand for a step that does not exist.

        `always`: one network for all steps, as a module cannot do with fewer parents at the first of them.
        """
        yield from self._read(seen.near, always)
        for offset in sorted({offset for _, offset in seen.near if offset > 0 or offset and always}):
            chain = self.model.chain_of(seen.near[0][0]).name
            if chain not in self._flags:
                self._flags[chain] = name = self._free("beyond")
                self.variables[name], self.chains[name] = Delta(v=0.0), chain
            yield lag(self._flags[chain], -offset, initial=1.0) if offset < 0 else lead(self._flags[chain], offset, initial=1.0)

    def masked(self, names: Iterable[str]) -> Iterator[str]:
        """Nodes, each followed by its mask where it has one."""
        for name in names:
            yield from (name, self.masks[name]) if name in self.masks else (name,)

    def _read(self, entries: Iterable[tuple[str, int]], always: bool) -> Iterator[str | Lag]:
        for node, offset in entries:
            yield from (self._single(name, offset, always) for name in self.masked([node]))

    def _single(self, node: str, offset: int, always: bool) -> str | Lag:
        if not offset:
            return node
        return lag(node, -offset, initial=self._example(node) if always else None) if offset < 0 else lead(node, offset, initial=self._example(node))

    def _free(self, name: str) -> str:
        """A name that nothing has."""
        while name in self.model or name in self.variables or name in self.model.plates:
            name += "_"
        return name

    def _example(self, node: str) -> Constant:
        if node in self.masks.values():
            return Constant(0.0)
        variable = self.model[node]
        return Constant(variable.space.example(variable.shape, torch.zeros(())).numpy())
