"""Whether a net is linear Gaussian in single numbers, all of them given, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..families import Constant, Delta, Normal
from ..families.affine import location_of, nonlinearity
from ..families.evaluation import evaluator
from ..graph import LinearGaussian

if TYPE_CHECKING:
    from .bayes_net import BayesNet

__all__ = ["linear_gaussian"]


def linear_gaussian(net: BayesNet) -> LinearGaussian | None:
    """The weights and variances of a net whose nodes are single Normal numbers with locations that are affine in their parents; None of any other.

    Deterministic nodes are passed through. Every number must be given, and no node may read more than one member of a plate.

    >>> from dgm_ppl import BayesNet, Normal, refs
    >>> found = linear_gaussian(BayesNet(a=Normal(loc=1.0, scale=2.0), x=Normal(loc=3 * refs("a") - 1, scale=0.5)))
    >>> found.weights, found.variances
    ({('a', 'x'): 3.0}, {'a': 4.0, 'x': 0.25})
    """
    if net.chains:
        return None
    through: dict[str, dict[str, float]] = {}
    weights, variances = {}, {}
    for name in net.order:
        slopes = _slopes(net, name)
        if slopes is None:
            return None
        found: dict[str, float] = {}
        for parent, slope in slopes.items():
            for origin, factor in through[parent].items():
                found[origin] = found.get(origin, 0.0) + slope * factor
        if net[name].is_deterministic:
            through[name] = found
        else:
            through[name], variances[name] = {name: 1.0}, float(net[name].fixed["scale"].array) ** 2
            weights |= {(origin, name): slope for origin, slope in found.items()}
    return LinearGaussian(weights, variances)


def _slopes(net: BayesNet, name: str) -> Mapping[str, float] | None:
    variable, parents = net[name], net[name].all_parents
    location = variable.fixed.get(location_of(variable)) if variable.family in (Normal, Delta) else None
    spread = variable.fixed.get("scale")
    given = variable.is_deterministic or isinstance(spread, Constant) and not spread.shape
    if location is None or variable.shape or variable.parents or not given or nonlinearity(variable, parents) is not None:
        return None
    if any(set(net.plates_of(parent)) - set(net.plates_of(name)) for parent in parents):
        return None
    if isinstance(location, Constant):
        return {}
    try:
        evaluate = evaluator(location, _number)
        zero = dict.fromkeys(parents, (0.0, 0))
        return {parent: float(evaluate(zero | {parent: (1.0, 0)})[0] - evaluate(zero)[0]) for parent in parents}
    except (TypeError, ValueError, AttributeError):                         # arrays, learned numbers: not single numbers that are given
        return None


def _number(constant: Constant):
    return lambda: constant.array.item()
