"""Plates in a guide: which members are told apart, what a factor reads whole, and the network that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from ..graph import Factor, GraphError
from ..nets import MLP, DeepSet, SetNet
from ..network import BayesNet
from ..network.chains import with_lags
from ..network.checking import members_of
from .program_net import ProgramNet

__all__ = ["reader", "told_apart", "wholes"]


def told_apart(model: BayesNet) -> dict[str, str]:
    """The plates whose members are not exchangeable, with the node that tells them apart.

    A fixed parameter with one value a member does, and so does a child outside the plate that reads its members in order: by an
    index, an expression, or a network that is not one over sets. A function is taken at its word where the plate has no size.
    """
    if isinstance(model, ProgramNet):
        return dict(model.apart)
    seen, around = with_lags(model.variables, model.plates)
    found = {plate: name for name in model for plate, _, _ in members_of(name, seen, around)}
    for name, variable in model.variables.items():
        for parent in variable.all_parents:
            for plate in model.plates_of(parent):
                if plate in model.plates_of(name) or isinstance(variable.net, SetNet):
                    continue
                if variable.fn is None or model.plates[plate].size is not None:
                    found.setdefault(plate, name)
    return found


def reader(name: str, factor: Factor, apart: Mapping[str, str], model: BayesNet, net: Any, pool: SetNet | None = None) -> Any:
    """The network of a latent: the one asked for, or one over sets where the latent reads a plate whole or its members are told apart."""
    pools = bool(factor.pools or factor.coupled or set(factor.plates) & set(apart))
    if isinstance(net, SetNet) and not (pools and pool is not None):
        return _in_order(name, net, factor, apart, model)
    if not pools:
        return net
    if pool is None and not isinstance(net, MLP):
        plates = sorted({plate for pooled in factor.pools.values() for plate in pooled} | set(factor.coupled))
        raise GraphError(
            f"amortize: the guide of {name!r} reads all members of the plate {(plates or list(factor.plates))[0]!r}, which takes a network over sets; got {net!r}; "
            f"try nets={{{name!r}: dgm.DeepSet(64)}}"
        )
    return _in_order(name, DeepSet(*net.hidden) if pool is None else pool, factor, apart, model)


def _in_order(name: str, net: SetNet, factor: Factor, apart: Mapping[str, str], model: BayesNet) -> SetNet:
    seen = {*factor.plates, *(plate for pooled in factor.pools.values() for plate in pooled)}
    ordered = tuple(plate for plate in apart if plate in seen)
    for plate in ordered:
        if model.plates[plate].size is None:
            raise GraphError(
                f"amortize: {apart[plate]!r} tells the members of plate {plate!r} apart, so the guide of {name!r} reads them in order and needs their number; "
                f"declare it: plates={{{plate!r}: dgm.Plate({list(model.plates[plate].nodes)}, size=...)}}"
            )
    made = copy(net)                                                        # an object of its own, so that nothing is shared unasked
    object.__setattr__(made, "ordered", tuple(dict.fromkeys((*net.ordered, *ordered))))
    return made


def wholes(factor: Factor) -> dict[str, tuple[tuple[str, ...], ...]]:
    """For each parent that is read over plates which the latent is in itself, these plates, one set for each way in which it is read."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for read in factor.reads:
        found.setdefault(read.node, []).append(tuple(plate for plate in read.pools if plate in factor.plates))
    return {node: tuple(ways) for node, ways in found.items() if any(ways)}
