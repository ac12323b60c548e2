"""A node whose distribution is a normalizing flow, declared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...families import Architecture, Circle, Counts, Interval, Levels, Positive, Real, Simplex, Space, Variable
from ...families.variable import checked_shape, whole
from ...graph import GraphError
from .bijection import Bijection
from .conditional import FlowConditional, context_of
from .dequantization import Dequantization, Dequantizer, UniformDequantization
from .image import ImageFlow
from .kinds import MAF, FlowKind
from .links import Affine, Link, Logit, over, scaled_as

__all__ = ["Flow", "NormalizingFlow"]


@dataclass(frozen=True, repr=False)
class NormalizingFlow(Architecture):
    """The distribution of a node that `Flow` declares."""

    kind: FlowKind = MAF()
    preprocess: Logit | Affine | None = None
    dequantize: Dequantization | None = None
    context: int = 64

    @property
    def net_label(self) -> str:
        return self.kind.label

    def space(self, variable: Variable) -> Space:
        return Circle() if self.kind.circular else Real()

    def summary(self, variable: Variable) -> str:
        space = variable.declared_space
        options = [] if space is None else [f"levels={space.largest + 1}"] if isinstance(space, Levels) else [f"space={space!r}"]
        options += [f"dequantize={self.dequantize!r}"] if self.dequantize is not None else []
        options += [f"preprocess={self.preprocess!r}"] if self.preprocess is not None else []
        options += [f"context={self.context}"] if self.context != 64 else []
        return f"Flow({', '.join([*map(str, variable.shape), repr(self.kind), *options])})"

    def caption(self, variable: Variable) -> str:
        return self.kind.label + (f"({', '.join(map(str, variable.shape))})" if variable.shape else "")

    def exact(self, variable: Variable) -> bool:
        return self.dequantize is None

    def as_guide_of(self, variable: Variable, latent: Variable) -> Variable:
        if self.kind.circular or self.dequantize is not None or not isinstance(latent.space, (Real, Positive, Interval, Simplex)):
            return variable
        preprocess = scaled_as(latent) if self.preprocess is None and not isinstance(latent.space, Simplex) else self.preprocess
        return replace(variable, family=replace(self, preprocess=preprocess), shape=variable.shape or latent.shape, declared_space=variable.declared_space or over(latent))

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        space = variable.space
        discrete = isinstance(space, Counts) or space.cardinality is not None
        if discrete and self.dequantize is None:
            raise GraphError(
                f"node {name!r}: expected a continuous node; got a flow over {space}; a flow has a density, so whole numbers need "
                f"dequantization: dgm.Flow(..., dequantize=dgm.UniformDequantization())"
            )
        if self.dequantize is not None and not discrete:
            raise GraphError(f"node {name!r}: dequantization is for whole numbers; got a flow over {space}; leave it out, or say levels=256")
        if isinstance(space, Circle) != self.kind.circular:
            raise GraphError(f"node {name!r}: expected angles for dgm.NCSF and nothing else; got {self.kind!r} over {space}; try dgm.{'NCSF' if isinstance(space, Circle) else 'NSF'}()")
        if isinstance(self.preprocess, Logit) and not isinstance(space, Interval) and space.cardinality is None:
            raise GraphError(f"node {name!r}: dgm.Logit expects numbers between two bounds; got {space}; try space=dgm.Interval(0.0, 1.0), or preprocess=dgm.Affine(loc, scale)")
        if isinstance(space, Simplex) and isinstance(self.kind, ImageFlow):
            raise GraphError(f"node {name!r}: {self.kind.label} transforms images, and numbers on a simplex are none; got {variable.summary}; try dgm.RealNVP()")
        if isinstance(space, Simplex) and (not variable.shape or variable.shape[-1] < 2):
            raise GraphError(f"node {name!r}: a flow over the simplex expects at least two numbers; got the shape {variable.shape}; try dgm.Flow(3, ..., space=dgm.Simplex())")
        self._check_affine(name, variable)
        try:
            self.kind.check(variable.shape)
            if self.dequantize is not None:
                self.dequantize.check(variable.shape)
        except ValueError as error:
            raise GraphError(f"node {name!r}: {error}") from error

    def check_values(self, name: str, variables: Mapping[str, Variable], values: Mapping[str, Any]) -> None:
        variable, value = variables[name], values[name]
        space = variable.space
        if self.dequantize is not None or not isinstance(space, (Interval, Simplex)) or isinstance(self.preprocess, Logit) and self.preprocess.alpha:
            return
        low, high = space.bounds
        ends = (value <= low) | (value >= high)
        if ends.any():
            closed = f"preprocess=dgm.Logit(0.05), whose density includes the ends of {space}" if isinstance(space, Interval) else "a little of the uniform mixed in: 0.999 * x + 0.001 / x.shape[-1]"
            raise GraphError(f"node {name!r}: {variable.summary} has a density strictly between {low:g} and {high:g}; got {value[ends].flatten()[0].item():g}; try {closed}")

    def _check_affine(self, name: str, variable: Variable) -> None:
        for part in ("loc", "scale") if isinstance(self.preprocess, Affine) else ():
            value = getattr(self.preprocess, part)
            wanted = variable.shape[-1:] if not isinstance(variable.space, Simplex) else (variable.shape[-1] - 1,)
            if isinstance(value, tuple) and (len(value),) != wanted:
                raise GraphError(f"node {name!r}: dgm.Affine: expected a number for {part}, or one for each of {wanted} dimensions; got {len(value)}")

    def link(self, variable: Variable) -> Link:
        """The map between the values and the vector that is transformed."""
        affine = self.preprocess if isinstance(self.preprocess, Affine) else None
        alpha = self.preprocess.alpha if isinstance(self.preprocess, Logit) else 0.0
        space = variable.space
        if self.dequantize is not None:                                     # the noisy numbers: between their bounds, above zero, or as they are
            states = space.cardinality
            space = Real() if affine is not None else Positive() if states is None else Interval(0.0, float(states))
            alpha = alpha or (Logit().alpha if self.preprocess is None else 0.0)
        return Link(space, alpha=alpha if isinstance(space, Interval) else 0.0, affine=affine)

    def build(self, name: str, variable: Variable, ports: Any, *, plates: Any, all_plates: int, shared: Any) -> FlowConditional:
        link, event = self.link(variable), variable.shape
        encoder, length = context_of(name, variable, ports, self.context, shared, plates)
        features = link.features(event)
        flow = Bijection(self.kind, event if features == math.prod(event) else features, length)
        dequantizer = None if self.dequantize is None else Dequantizer(self.dequantize, variable.space, event)
        return FlowConditional(name, variable, ports, flow, link, encoder=encoder, length=length, dequantizer=dequantizer)


def Flow(
    *shape: Any, kind: FlowKind | None = None, space: Space | None = None, levels: int | None = None, dequantize: Dequantization | None = None,
    preprocess: Logit | Affine | None = None, context: int = 64,
) -> Variable:
    """A node whose density is that of a normalizing flow: log p(x) = log N(f(x); 0, 1) + log |det df/dx|.

    The event `(*worlds, *plates, *shape)` is transformed as one vector. Parents condition every layer: encoded and joined as they are,
    or through `.given(..., net=...)`, which computes `context` numbers from them. It samples with gradients, so it serves as density of
    data, as prior, and as the family of a guide; it has no closed-form divergence. Splines and Bernstein polynomials bend values
    between -5 and 5 alone, and the others start near the identity, so standardize: `preprocess=dgm.Affine(x.mean(0), x.std(0))`.

    Args:
        *shape: the event shape, and the kind after it if you like: `Flow(2, MAF())`.
        kind: the architecture: `MAF` (the default), `NSF`, `NCSF`, `RealNVP`, `NICE`, `NAF`, `UNAF`, `BPF`, `SOSPF`, `GF`, `CNF`, `IAF`, `Inverse(...)`.
        space: where values live, the real line by default: positive numbers are transformed by their logarithm, numbers between bounds by
            their log-odds, the simplex by breaking sticks; all part of the density.
        levels: values are the whole numbers 0 ... levels - 1, such as a pixel's 256 (`space=Counts()` has no largest).
        dequantize: the noise that fills whole numbers up: `UniformDequantization()`, the default with levels, or `VariationalDequantization()`.
            The density is then a lower bound of the probability, and bits per dimension come out right.
        preprocess: `Affine(loc, scale)` after the space's own map (of dequantized numbers as they are), or `Logit(alpha)` for closed bounds;
            levels have `Logit(0.05)` by default.
        context: how many numbers a network computes from the parents.

    Raises:
        GraphError: a discrete node, a kind that does not fit the space or the shape.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(y=dgm.Given(3), x=dgm.Flow(2, dgm.NSF(transforms=2)).given("y"))
        >>> net
        y ~ Given(3)
        x | y ~ Flow(2, NSF(transforms=2))
        >>> dgm.compile(net).sample(given={"y": [[0.0, 1.0, 2.0]]})["x"].shape
        torch.Size([1, 2])
    """
    declared = next((one for one in shape if isinstance(one, Variable)), None)
    if declared is not None:
        lengths, states = "".join(f"{length}, " for length in declared.shape), declared.space.cardinality
        mend = f"levels={states}" if states else "space=dgm.Counts(), dequantize=dgm.UniformDequantization()" if isinstance(declared.space, Counts) else f"space={declared.space!r}"
        raise GraphError(f"Flow: expected the event's shape; got {declared!r}, a distribution of its own; a flow is the distribution: try dgm.Flow({lengths}dgm.MAF(), {mend})")
    if shape and isinstance(shape[-1], FlowKind):
        if kind is not None:
            raise GraphError(f"Flow: expected one kind; got {shape[-1]!r} and {kind!r}")
        shape, kind = shape[:-1], shape[-1]
    if not isinstance(kind, (FlowKind, type(None))) or any(isinstance(length, type) for length in shape):
        got = kind if kind is not None else next(length for length in shape if isinstance(length, type))
        raise GraphError(f"Flow: expected a kind such as dgm.MAF(); got {got!r}; try dgm.Flow(2, dgm.MAF())")
    if space is not None and not isinstance(space, Space):
        raise GraphError(f"Flow: expected a space such as dgm.Positive(); got {space!r}")
    if levels is not None:
        if space is not None:
            raise GraphError(f"Flow: expected levels=256 or a space, not both; got levels={levels!r}, space={space!r}")
        if (whole(levels) or 0) < 2:
            raise GraphError(f"Flow: expected a whole number of levels from 2; got levels={levels!r}; try levels=256")
        space, dequantize = Levels(whole(levels) - 1), UniformDequantization() if dequantize is None else dequantize
    if dequantize is not None and not isinstance(dequantize, Dequantization):
        raise GraphError(f"Flow: expected dequantize=dgm.UniformDequantization() or dgm.VariationalDequantization(); got {dequantize!r}")
    if preprocess is not None and not isinstance(preprocess, (Logit, Affine)):
        raise GraphError(f"Flow: expected preprocess=dgm.Affine(loc, scale) or dgm.Logit(alpha); got {preprocess!r}")
    if (whole(context) or 0) < 1:
        raise GraphError(f"Flow: expected a positive whole number for context; got {context!r}")
    return Variable(NormalizingFlow(kind or MAF(), preprocess, dequantize, context), checked_shape(shape, "Flow"), declared_space=space)
