"""One masked flow over the latents of a guide, along the inverse graph."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..conditionals import MAF, NSF, Flow, FlowBlock, FlowKind, NormalizingFlow
from ..families import Tied, Variable
from ..graph import GraphError, Inversion
from ..network import BayesNet
from .encoders import Encoded
from .recognition import As, Recognition

__all__ = ["BlockFlow", "block_of"]


@dataclass(frozen=True)
class BlockFlow(Recognition):
    """One masked autoregressive flow over all continuous latents, masked along the inverse graph: each latent reads its own parents there, and nothing else.

    The latents share the networks of `kind`, `MAF(...)`, `IAF(...)` or `NSF(...)`, one a transformation. Every transformation of a latent reads the values of its parents
    as they are, so that several of them bend its density further and add no arrow. Latents with other values, and those named in `families`, keep their own
    family and stand beside the block. For nets without plates and chains.

    Source: Webb et al. (2018), https://arxiv.org/abs/1712.00287; Wehenkel and Louppe (2021), https://arxiv.org/abs/2006.02548.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(a=dgm.Normal(), b=dgm.Normal(2).given("a"), x=dgm.Normal(3).given("b"))
        >>> dgm.amortize(net, observed="x", family=dgm.BlockFlow(dgm.MAF(1)))
        x ~ Given(3)
        b | x ~ BlockFlow(2, MAF(transforms=1)), tied shared with a
        a | b ~ BlockFlow(MAF(transforms=1)), tied shared with b
    """

    kind: FlowKind = NSF()

    def __post_init__(self) -> None:
        if not isinstance(self.kind, MAF) and type(self.kind) is not NSF:
            raise GraphError(f"BlockFlow: expected a masked kind: dgm.NSF(...), dgm.MAF(...) or dgm.IAF(...); got {self.kind!r}")

    def declare(self, latent: Variable) -> Variable:
        return As(Flow(self.kind)).declare(latent)


def block_of(model: BayesNet, inversion: Inversion, latents: Collection[str], declared: Mapping[str, Variable], family: BlockFlow, encoded: Encoded) -> dict[str, Variable]:
    """The declarations of the latents in the block; none where there are fewer than two numbers to order."""
    if model.plates:
        raise GraphError(
            f"amortize: BlockFlow joins the numbers of all latents into one vector, and latents in plates {list(model.plates)} have copies of any number; try family=dgm.Flow({family.kind!r})"
        )
    names = tuple(name for name in latents if isinstance(declared[name].family, NormalizingFlow))
    if sum(declared[name].family.link(declared[name]).features(declared[name].shape) for name in names) < 2:
        return {}
    reads = tuple(encoded(inversion.parents[name]) for name in names)
    inputs = tuple(dict.fromkeys(parent for parents in reads for parent in parents if parent not in names))
    sources = [encoded.variables.get(name) or model[name] for name in inputs]
    features = tuple(math.prod(source.space.encoded_shape(source.shape)) for source in sources)
    kind, tied = FlowBlock(family.kind, names, tuple(declared[name] for name in names), reads, inputs, features), Tied()
    return {
        name: Variable(kind, declared[name].shape, declared_space=declared[name].space).given(*own, net=tied) for name, own in zip(names, reads)
    }
