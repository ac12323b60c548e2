"""From a declaration to a model."""

from __future__ import annotations

import torch

from ..families.randomness import seeded
from ..graph import GraphError
from ..network import BayesNet, Layout, RecognitionNet, SubsetRecognition, probe, unlike
from .guide import Guide
from .model import Model, assemble
from .subset_guide import SubsetGuide

__all__ = ["compile"]


def compile(net: BayesNet, *, share: Model | None = None, seed: int | None = None) -> Model:
    """The net as an `nn.Module` that is a Pyro program; all its parameters exist when this returns.

    Args:
        net: a Bayesian network; one that `amortize` derived becomes a guide.
        share: a model whose networks this one uses wherever both declare the same builder *object*.
        seed: makes the initial parameters reproducible and leaves the global generator as it was; without it they are drawn
            from the global generator, in declaration order.

    Raises:
        GraphError: a network of the wrong size, a parameter that does not fit the event: found by a dry run.

    Example:
        >>> import dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z", net=dgm.MLP(8))))
        >>> model.sample(5)["x"].shape
        torch.Size([5, 3])
    """
    if isinstance(net, SubsetRecognition):
        with seeded(seed, torch.device("cpu")):
            return SubsetGuide(net)
    if not isinstance(net, BayesNet):
        raise GraphError(f"compile: expected a BayesNet; got {type(net).__name__}; try dgm.compile(dgm.BayesNet(z=dgm.Normal(2)))")
    with seeded(seed, torch.device("cpu")):
        if isinstance(net, RecognitionNet):
            model = Guide.of(net, share)
        else:
            model = assemble(net, {}, {} if share is None else share.shared)
    layout = Layout(model.net)
    worlds, sizes = unlike(model.net, layout.sizes({}))
    probe(layout, {name: model.conditionals[name] for name in model.conditionals}, {}, worlds, sizes)
    return model
