"""One guide for every subset of the nodes that may be observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from ..graph import Factor, Faithful, GraphError, Read, Structure, did_you_mean
from ..network import AnySubset, BayesNet, SubsetRecognition, inverted
from .plates import reader, told_apart
from .recognition import Recognition, recognition_variable

__all__ = ["of_chain", "subset_recognition", "with_holes"]


def with_holes(model: BayesNet, observed: Sequence[str], missing: Sequence[str]) -> AnySubset:
    """The patterns of evidence where some observed nodes may be missing, each row of training at a rate of its own, and the others are there.

    Cells of a vector, and members of a plate, come and go by themselves where nothing depends on the node.

    Raises:
        GraphError: a node in `missing` that is not observed.
    """
    random = [name for name in observed if not model[name].is_given]
    for name in missing:
        if name not in random:
            raise GraphError(f"amortize: missing names {name!r}, which is no observed random node{did_you_mean(name, random)}; it names those whose cells may be missing (NaN)")
    split = [name for name in missing if (model[name].shape or model.plates_of(name)) and not model.dag.children(name)]
    return AnySubset(random, prob={name: (0.0, 1.0) if name in missing else 1.0 for name in random}, cells=dict.fromkeys(split, (0.0, 1.0)) or 1.0)


def subset_recognition(
    model: BayesNet, subset: AnySubset, structure: Structure, order: Any, *, net: Any, nets: Mapping[str, Any], family: Recognition, families: Mapping[str, Any],
) -> SubsetRecognition:
    """The declaration of the guide; latents and unobserved nodes are drawn in one order for all patterns, children first.

    Raises:
        GraphError: copies that stay coupled, an unknown, deterministic or Given node in the subset, another structure than a faithful one, an order that lacks a node.
    """
    _check_random(model, subset)
    for name, (share, _) in zip(subset.nodes, subset.shares):
        if share < 1 and (model[name].shape or model.plates_of(name)) and model.dag.children(name):
            raise GraphError(f"amortize: AnySubset hides cells of {name!r}, on which {model.dag.children(name)[0]!r} depends; declare its elements as nodes of their own, or leave it out of cells")
    if structure != Faithful():
        raise GraphError(f"amortize: AnySubset derives a faithful structure for each pattern; got structure={structure!r}; leave it out")
    declared = tuple(sorted(reversed(model.order), key=lambda name: len(model.plates_of(name))))       # outer plates first, so that copies come apart
    random = tuple(name for name in declared if not model[name].is_deterministic and not model[name].is_given)
    asked = random if isinstance(order, str) and order == "auto" else tuple(order) if isinstance(order, (list, tuple)) else None
    if asked is None or set(asked) != set(random):
        raise GraphError(f"amortize: with AnySubset, order is a list of all random nodes, in the order in which those that are not observed are drawn; got {order!r}; try {list(random)}")
    for option, given in (("nets", nets), ("families", families)):
        for name in given:
            if name not in random:
                raise GraphError(f"amortize: {option} names {name!r}, which is no random node{did_you_mean(name, random)}")
    variables = {name: recognition_variable(name, model[name], families.get(name), family) for name in random}
    for name, variable in variables.items():
        if variable.expression_parents:
            raise GraphError(
                f"amortize: the guide of {name!r} is anchored to the model's own conditional, whose parents are drawn after it in some patterns; leave the family out, or name one with parameters of its own: families={{{name!r}: dgm.Flow()}}"
            )
    networks = {name: nets.get(name, copy(net)) for name in random}
    if model.plates:
        apart = told_apart(model)
        networks = {name: reader(name, factor, apart, model, networks[name]) for name, factor in _factors(model, subset, asked).items()}
    return SubsetRecognition(model, subset, variables, networks, asked)


def of_chain(model: BayesNet, subset: AnySubset) -> tuple[str, ...]:
    """The nodes of a net with chains that may be observed, of which any cell may be missing."""
    _check_random(model, subset)
    return subset.nodes


def _check_random(model: BayesNet, subset: AnySubset) -> None:
    for name in subset.nodes:
        if model[name].is_deterministic or model[name].is_given:
            raise GraphError(f"amortize: AnySubset names {name!r}, which is {'deterministic' if model[name].is_deterministic else 'a Given input and always there'}; leave it out")


def _factors(model: BayesNet, subset: AnySubset, order: tuple[str, ...]) -> dict[str, Factor]:
    """For each node all that it reads in some pattern.

    Raises:
        GraphError: a pattern in which copies stay coupled, or read each other's values.
    """
    found: dict[str, dict[Read, None]] = {name: {} for name in order}
    for row in subset.every().tolist():
        present = [name for name, there in zip(subset.nodes, row) if there]
        rest = [name for name in order if name not in present]
        if not present or not rest:
            continue
        inversion = inverted(model, (*model.inputs, *present), Faithful(rest))
        for name, factor in inversion.factors.items():
            if name in inversion.barren:
                continue
            wide = [read.node for read in factor.reads if set(read.pools) & set(factor.plates)]
            if factor.coupled or wide:
                raise GraphError(
                    f"amortize: with {' and '.join(map(repr, present))} observed, the copies of {name!r} over the plate {(factor.coupled or factor.plates)[0]!r} "
                    f"{'stay coupled' if factor.coupled else f'read all of {wide[0]!r}'}, which one guide for all patterns does not do; leave the pattern out, patterns=[...], try another "
                    f"order=[...], or derive a guide for it: observed={present!r}"
                )
            found[name] |= dict.fromkeys(factor.reads)
    return {name: Factor(name, model.plates_of(name), tuple(reads)) for name, reads in found.items()}
