"""Guides over chains: each latent of a step reads those drawn before it that its posterior depends on, and encoders that read the sequence.

The steps are drawn from the start (each latent then needs what is still to come: an encoder reads the observations from the end, as in deep
Markov models; Krishnan et al., 2017, https://arxiv.org/abs/1609.09869) or from the end (an encoder reads them from the start).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from torch import nn

from ..conditionals.completed import Completed
from ..conditionals.denoising import Denoising
from ..families import Given, Variable
from ..families.lags import node_of
from ..graph import Factor, GraphError, Structure, did_you_mean
from ..nets import MLP, DeepSet, Net, SetNet
from ..nets.attention_state import AttentionState
from ..nets.recurrent_state import RecurrentState
from ..network import OBSERVED, SEEN, AnySubset, BayesNet, SequenceGuide, with_seen
from .coupling import drawn_together
from .passes import Unrolled, views_of
from .plates import reader, told_apart
from .recognition import Recognition, recognition_variable
from .states import States

__all__ = ["sequence_guide"]


def sequence_guide(
    model: BayesNet, observed: Sequence[str], structure: Structure, order: Any, *, net: Any, nets: Mapping[str, Any], encoder: Net | None, pool: SetNet | None, coupling: Any, family: Recognition,
    families: Mapping[str, Any], missing: Sequence[str] = (), subset: AnySubset | None = None,
) -> SequenceGuide:
    """The guide of a net with chains, for the nodes that are observed (checked, inputs among them)."""
    _check_chains(model)
    _check_missing(model, observed, missing)
    declared, completed = model, {name: f"{name}{SEEN}" for name in missing if model.descendants(name)}
    model, observed = with_seen(model, completed), [completed.get(name, name) for name in observed]
    latents = _latents(model, observed)
    for option, given in (("nets", nets), ("families", families), ("coupling", coupling if isinstance(coupling, Mapping) else {})):
        for name in given:
            if name not in latents:
                raise GraphError(f"amortize: {option} names {name!r}, which is no latent that needs a recognition network{did_you_mean(name, latents)}")
    if isinstance(net, nn.Module) and len([latent for latent in latents if latent not in nets]) > 1:
        raise GraphError(f"amortize: one module cannot serve the latents {list(latents)}; give a builder such as net=dgm.MLP(128), or one module each: nets={{...}}")
    unrolled = Unrolled(model, observed, latents)
    states = States(unrolled, _encoder(encoder, net), _pool(pool, net), {completed.get(name, name): f"{name}{OBSERVED}" for name in missing}, _told_apart(model))
    stands_for = {seen: name for name, seen in completed.items()}
    variables: dict[str, Variable] = {name: _input(model[stands_for.get(name, name)]) for name in observed}
    variables |= {mask: Given(*model[name].shape) for name, mask in states.masks.items()}
    learned = {}
    for latent, view in views_of(unrolled, structure, order).items():
        variable = recognition_variable(latent, model[latent], families.get(latent), family)
        if isinstance(variable.family, Denoising):
            raise GraphError(f"amortize: {variable.family.name} is no family for {latent!r}, a latent of the chain {model.chains[0]!r}: its steps are drawn one after another; try dgm.Flow(...)")
        variable = _completing(variable, latent, completed) if latent in completed else variable
        network = nets[latent] if latent in nets else net if isinstance(net, nn.Module) else copy(net)
        if view.coupled and latent in completed:
            raise GraphError(
                f"amortize: missing names {latent!r}, whose copies over the plate {view.coupled[0]!r} depend on each other where they are missing, which is not derived; leave it out of missing, and "
                f"fill its cells in, or try another order=[...]"
            )
        if view.coupled:
            variable = drawn_together(latent, model[latent], variable, view.coupled, coupling, named=latent in families)
            network = reader(latent, Factor(latent, model.plates_of(latent), (), view.coupled), {}, model, network, pool)
        free = latent not in nets and isinstance(network, MLP) and model.chain_of(latent) is None       # what is fed back step after step keeps its bounded units
        parents = states.parents(latent, view, bool(view.coupled) or isinstance(network, nn.Module), isinstance(network, SetNet) or free)
        if latent in completed:
            parents += [name for name in (completed[latent], f"{latent}{OBSERVED}") if name not in parents]
        if free and states.outside(latent, parents):
            network = copy(states.pool)
        learned[latent] = variable.given(*parents, net=network) if parents else variable
    variables |= states.variables | learned
    inside = {plate: [name for name in variables if plate in states.inside[name]] for plate in model.plates}
    for plate, nodes in inside.items():
        if not nodes:
            raise GraphError(
                f"amortize: the {model.plates[plate].word} {plate!r} holds nothing that is observed or that something observed depends on; leave its nodes out, and draw them "
                f"afterwards: net.remove({', '.join(map(repr, model.plates[plate].nodes))})"
            )
    return SequenceGuide(variables, model=declared, subset=subset, plates={plate: model.plates[plate].like(nodes, model.plates[plate].size) for plate, nodes in inside.items()})


# ---- what is refused


def _check_chains(model: BayesNet) -> None:
    for name in model:
        own = model.chain_of(name)
        across = [parent for parent in map(node_of, model[name].all_parents) if own is not None and model.chain_of(parent) not in (None, own)]
        if across:
            raise GraphError(
                f"amortize: node {name!r} of the chain {own.name!r} reads all steps of {across[0]!r}, which is in the chain {model.chain_of(across[0]).name!r}; put both into one "
                f"chain, whose steps go side by side, or write the guide as a BayesNet over the same plates"
            )


def _told_apart(model: BayesNet) -> dict[str, int]:
    """The plates beside chains whose members are told apart, with their sizes."""
    found = {plate: node for plate, node in told_apart(model).items() if plate not in model.chains}
    for plate, node in found.items():
        if model.plates[plate].size is None:
            raise GraphError(
                f"amortize: {node!r} tells the members of plate {plate!r} apart, so the guide has to know which is which and needs their number; declare it: "
                f"plates={{{plate!r}: dgm.Plate({list(model.plates[plate].nodes)}, size=...)}}"
            )
    return {plate: model.plates[plate].size for plate in found}


def _check_missing(model: BayesNet, observed: Sequence[str], missing: Sequence[str]) -> None:
    """Raises where cells of a node cannot be missing, or the inputs that tell of them have no name."""
    for name in missing:
        if name not in observed or model[name].is_given:
            raise GraphError(f"amortize: missing names {name!r}, which is no observed random node{did_you_mean(name, observed)}; it names those whose cells may be missing (NaN)")
        for ending, word in ((OBSERVED, "mask"), (SEEN, "input")):
            if f"{name}{ending}" in model:
                raise GraphError(f"amortize: missing: the guide's {word} of {name!r} would be called {name + ending!r}, as a node of the model is; rename that node")


def _input(variable: Variable) -> Variable:
    """A Given node with the values of another."""
    return Variable(None, variable.shape, size=variable.size, labels=variable.labels, declared_space=variable.space)


def _completing(variable: Variable, name: str, completed: Mapping[str, str]) -> Variable:
    """A declaration that leaves what is there of a node as it is."""
    return Variable(Completed(variable, completed[name], f"{name}{OBSERVED}"), variable.shape, size=variable.size, labels=variable.labels)


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


def _encoder(encoder: Net | None, net: Any) -> RecurrentState | AttentionState:
    if encoder is None:
        return RecurrentState(next(iter(net.hidden), 64) if isinstance(net, MLP) else 64)
    if not isinstance(encoder, (RecurrentState, AttentionState)):
        raise GraphError(f"amortize: encoder: expected the builder of a state, such as dgm.RecurrentState(64) or dgm.AttentionState(8); got {encoder!r}")
    return encoder


def _pool(pool: SetNet | None, net: Any) -> SetNet:
    if pool is None:
        return net if isinstance(net, SetNet) else DeepSet(*(net.hidden if isinstance(net, MLP) else (64,)))
    if not isinstance(pool, SetNet):
        raise GraphError(f"amortize: pool: expected the builder of a network over sets, such as dgm.DeepSet(64); got {pool!r}")
    return pool
