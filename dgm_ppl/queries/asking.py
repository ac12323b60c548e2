"""The posterior, by the method asked for, or exactly where the graph allows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..compile import Model
from ..conditionals.denoising import DenoisingConditional
from ..data import row_labels
from ..exact import Cells, FiniteChain, GaussianChain, Obstacle, SwitchingChain, cells, chain_engine, refuse_soft, see, watch
from ..graph import GraphError
from .bounded import noisy, refuse_implicit, refuse_noisy
from .collapsed import CollapsedPosterior
from .elimination import by_cliques, integrates
from .evidence import relevant
from .exact import Exact, why_not
from .exact_posterior import ExactPosterior
from .gaussian_sequences import GaussianSequencePosterior
from .methods import HMC, NUTS, Amortized, Guided, Importance, IndependenceMetropolis, Method, Refined, Twisted
from .metropolis import MetropolisPosterior
from .noise_space import NoisePosterior
from .posterior import ChainPosterior, GuidePosterior, Posterior
from .refining import RefinedPosterior
from .reverse import ReversePosterior
from .sequences import SequencePosterior
from .subsets import SubsetPosterior, serves_subsets
from .switching import SwitchingPosterior
from .weighting import evidence_for

__all__ = ["posterior"]


def posterior(model: Model, evidence: Any, *, method: Method | None = None) -> Posterior:
    """The posterior of every node that the evidence lacks, for each row of evidence.

    Without a method the answer is exact, which needs every unobserved node above the evidence to be finite, or Gaussian with everything that depends on it
    Gaussian and linear in it; cells may then be missing (NaN or None), and evidence soft.

    Args:
        model: a compiled net.
        evidence: a dict of tensors, arrays, numbers, labels or likelihoods (`Likelihood`; a DataFrame is taken too), one row or many.
        method: `Exact()`, `Amortized(guide)`, `Importance(guide, samples)`, `Refined(guide)`, `IndependenceMetropolis(guide)`, `NUTS(...)`, `HMC(...)` or `Langevin(...)` in noise space, and for a
            diffusion above the evidence `Guided(...)` or `Twisted(...)`.

    Raises:
        GraphError: unknown or illegal evidence, nothing left to infer, a method that cannot do this.
    """
    if method is None or isinstance(method, Exact):
        return _exact(model, evidence, method)
    if serves_subsets(method):
        return SubsetPosterior(model, evidence, method)
    refuse_soft(evidence, "posterior", method)
    values = evidence_for(model, evidence, method)
    _check_open(model, values, values.holes if isinstance(values, Cells) else {})
    if not isinstance(method, Amortized):
        _check_densities(model, values, method)
    if isinstance(method, HMC):
        return NoisePosterior(model, values, method)
    if isinstance(method, (Guided, Twisted)):
        return ReversePosterior(model, values, method)
    if isinstance(method, (Amortized, Importance)):
        return GuidePosterior(model, values, method)
    if isinstance(method, Refined):
        return RefinedPosterior(model, values, method)
    if isinstance(method, IndependenceMetropolis):
        return MetropolisPosterior(model, values, method)
    if isinstance(method, NUTS):
        return ChainPosterior(model, values, method)
    raise GraphError(f"posterior: expected a method; got {method!r}; {_mend(model, values)}")


def _exact(model: Model, evidence: Any, method: Exact | None) -> Posterior:
    """By the engine that fits: cliques where all that is hidden and matters is finite, else sums and integrals together."""
    asked = "expected a method; got None" if method is None else "Exact() is asked for"
    method, index = method or Exact(), row_labels(evidence)
    if model.net.chains:
        watched = watch(model, evidence)
        _check_open(model, watched.values, watched.holes)
        kinds = {GaussianChain: GaussianSequencePosterior, SwitchingChain: SwitchingPosterior, FiniteChain: SequencePosterior}
        return kinds[type(chain_engine(model, watched, memory=method.memory))](model, watched, method)
    found = cells(model, evidence) if integrates(model) else None
    if found is None or by_cliques(model, found):
        seen = see(model, evidence)
        _check_open(model, seen.complete)
        reason = why_not(model, seen)
        if reason is None:
            return ExactPosterior(model, seen, method, index, beyond=None if found is None else lambda: CollapsedPosterior(model, found, method, index))
        if found is None:
            refuse_implicit(model, seen.columns, "posterior")
            raise GraphError(f"posterior: {asked}, and {reason}, so that it cannot be summed out; {_mend(model, seen.complete)}")
    _check_open(model, found, found.holes)
    try:
        return CollapsedPosterior(model, found, method, index)
    except Obstacle as obstructed:
        refuse_implicit(model, found, "posterior")
        name = obstructed.name
        raise GraphError(
            f"posterior: {asked}, and node {name!r} ~ {model.net[name].summary} cannot be eliminated: {obstructed.reason}; {_mend(model, found)}"
        ) from obstructed


def _check_densities(model: Model, values: Mapping[str, Any], method: Method) -> None:
    """Raises where a method needs a density that is not there: of what is observed, or of every node."""
    asked = f"posterior by {type(method).__name__}"
    whole = isinstance(method, (NUTS, Importance, IndependenceMetropolis, Refined))
    refuse_implicit(model, model.random if whole else values, asked)
    weighted = whole and not (isinstance(method, Refined) and not method.weighted)
    if isinstance(method, (HMC, Twisted)) or weighted:
        refuse_noisy(model, values if isinstance(method, (HMC, Twisted)) else None, asked)
    if weighted and not isinstance(method, NUTS):
        refuse_noisy(method.guide, method.guide.random, asked)


def _check_open(model: Model, values: Mapping[str, Any], holes: Mapping[str, Any] = MappingProxyType({})) -> None:
    if not [name for name in model.random if name not in values or name in holes]:
        raise GraphError("posterior: every random node is observed, so nothing is left to infer; leave some out of the evidence")


def _mend(model: Model, values: Mapping[str, Any]) -> str:
    denoised, other = noisy(model), ""
    if denoised is None:
        other = ", or method=dgm.NUTS()"
    elif isinstance(model.conditionals[denoised], DenoisingConditional) and relevant(model, values) == [denoised]:
        other = ", or method=dgm.Guided(samples=100)"
    return f"try method=dgm.Amortized(guide), with guide = dgm.compile(dgm.amortize(net, observed={list(values)})){other}"
