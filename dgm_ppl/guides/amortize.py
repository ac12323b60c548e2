"""The guide that a model's graph implies: the inverted graph with a recognition conditional on every latent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Any

from torch import nn

from ..exact import plan_latents
from ..families import Family, Variable
from ..graph import GraphError, Inversion, did_you_mean, invert
from ..nets import MLP
from ..network import BayesNet, RecognitionNet
from .recognition import recognition_variable

__all__ = ["amortize"]

NOTHING: Mapping[str, Any] = MappingProxyType({})


def amortize(
    model: BayesNet,
    observed: str | Iterable[str],
    *,
    net: Any = MLP(128),
    nets: Mapping[str, Any] = NOTHING,
    families: Mapping[str, Family | Variable] = NOTHING,
    order: Any = "auto",
    collapse: bool | Iterable[str] = False,
) -> RecognitionNet:
    """The recognition net q(latents | observed): the model's graph turned round, faithfully and without needless arrows.

    Every independence that it asserts holds in the model's posterior, and dropping any arrow would assert one that does not
    (Webb et al., 2018, https://arxiv.org/abs/1712.00287). Latents without an observed descendant take the model's own
    conditional. The result is a net like any other: print it, draw it, `replace` its nodes, read its `certificate()`.

    Args:
        model: a net without plates.
        observed: the nodes that the guide is given; Given inputs always are.
        net: the builder for every latent's recognition network; each latent gets one of its own.
        nets: builders or modules by latent; the same object twice shares its weights.
        families: families (or declarations such as `MultivariateNormal(20, rank=2)`) by latent; by default one that fits the
            latent's support.
        order: `"auto"` for the fewest arrows, an elimination rule, or the latents in the order in which to sample them.
        collapse: latents to leave to exact elimination: True for all that the plan can eliminate (`model.plan(observed=...)`), or some of them by name.

    Raises:
        GraphError: an unknown name, nothing observed, a deterministic node observed, nothing latent, a net with plates, a family that
            does not fit its latent's support.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(5).given("z", net=dgm.MLP(32)))
        >>> dgm.amortize(net, observed="x", net=dgm.MLP(32))
        x ~ Given(5)
        z | x ~ Normal(2), MLP(32)
    """
    if not isinstance(model, BayesNet):
        raise GraphError(f"amortize: expected a BayesNet; got {type(model).__name__}; pass the declaration, not the compiled model")
    if model.chains:
        raise GraphError(
            f"amortize: the net has the chain {model.chains[0]!r}; guides over chains are not derived yet: write the guide as a BayesNet over the same chain, or, where "
            f"hidden nodes are finite or linear-Gaussian, ask for exact answers: dgm.posterior(model, data)"
        )
    if model.plates:
        raise GraphError(f"amortize: the net has plates ({', '.join(model.plates)}); guides over plates are not there yet: write the guide as a BayesNet, or ask dgm.posterior(model, data, method=dgm.NUTS())")
    names = _names(model, observed)
    left_out = _left_out(model, names, collapse)
    inversion = _inverted(model, names, order)
    if left_out:                                                            # sampled last, so that no other latent reads them
        inversion = _inverted(model, names, [*(name for name in inversion.order if name not in left_out), *(name for name in inversion.order if name in left_out)])
    learned = [latent for latent in inversion.order if latent not in inversion.barren and latent not in left_out]
    for option, given in (("nets", nets), ("families", families)):
        for name in given:
            if name not in learned:
                raise GraphError(f"amortize: {option} names {name!r}, which is no latent that needs a recognition network{did_you_mean(name, learned)}")
    if isinstance(net, nn.Module) and len([latent for latent in learned if latent not in nets]) > 1:
        raise GraphError(f"amortize: one module cannot serve the latents {learned}; give a builder such as net=dgm.MLP(128), or one module each: nets={{...}}")
    variables = {name: _given(model[name]) for name in inversion.observed}
    for latent in learned:
        variable = recognition_variable(latent, model[latent], families.get(latent))
        parents = inversion.parents[latent]
        chosen = nets[latent] if latent in nets else net if isinstance(net, nn.Module) else copy(net)
        variables[latent] = variable.given(*parents, net=chosen) if parents else variable
    return RecognitionNet({**variables, **_own(model, inversion, left_out)}, model=model, inversion=inversion)


def _left_out(model: BayesNet, observed: Sequence[str], collapse: bool | Iterable[str]) -> tuple[str, ...]:
    """The latents that exact elimination takes care of."""
    if collapse is False:
        return ()
    plan = plan_latents(model, observed)
    asked = plan.collapsed if collapse is True else (collapse,) if isinstance(collapse, str) else tuple(collapse)
    for name in asked:
        model[name]
        if name not in plan.collapsed:
            reason = f": {plan[name].reason}" if name in [treatment.name for treatment in plan.latents] else ", it is no latent"
            raise GraphError(f"amortize: collapse names {name!r}, which cannot be eliminated{reason}; leave it out of collapse")
    if asked and not [name for name in plan.amortized if name not in asked] and set(asked) >= set(plan.collapsed):
        raise GraphError(
            f"amortize: every latent can be eliminated exactly ({', '.join(asked)}), so no guide is needed: dgm.fit(dgm.MaximumLikelihood(model), data); for a guide "
            f"all the same, leave collapse out"
        )
    return asked


def _names(model: BayesNet, observed: str | Iterable[str]) -> tuple[str, ...]:
    asked = (observed,) if isinstance(observed, str) else tuple(observed)
    for name in asked:
        if model[name].is_deterministic:
            raise GraphError(f"amortize: node {name!r} is deterministic and cannot be observed; observe a noisy child of it instead")
    if not [name for name in asked if not model[name].is_given]:
        raise GraphError(f"amortize: nothing is observed; name the nodes that data will have: observed={model.dag.leaves[0]!r}")
    return tuple(dict.fromkeys((*model.inputs, *asked)))


def _inverted(model: BayesNet, observed: Sequence[str], order: Any) -> Inversion:
    return invert(model.dag, observed, order=order, deterministic=model.deterministic)


def _given(variable: Variable) -> Variable:
    return Variable(None, variable.shape, size=variable.size, labels=variable.labels, declared_space=variable.space)


def _own(model: BayesNet, inversion: Inversion, left_out: Sequence[str]) -> dict[str, Variable]:
    """The barren latents with the model's own declaration, and the deterministic nodes that they read; without those that hang on latents left out."""
    barren = [name for name in inversion.barren if not set(model.dag.ancestors(name)) & set(left_out)]
    above = {name for each in barren for name in model.dag.ancestors(each)}
    needed = {name for name in inversion.deterministic if name in above}
    return {name: model[name] for name in model.order if name in needed or name in barren}
