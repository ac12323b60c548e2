"""Which codes of a codebook a guide uses, and a new start for those that it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..conditionals.codes import QuantizedConditional
from ..graph import GraphError

__all__ = ["CodeUsage", "code_usage", "codes_of", "restart_codes"]


@dataclass(frozen=True)
class CodeUsage:
    """How often each code was chosen: `counts`, one a code.

    `perplexity` is exp of the entropy of the frequencies, between 1 and the size of the book; `dead` are the codes that were never chosen.
    """

    counts: Tensor

    @property
    def perplexity(self) -> float:
        frequencies = self.counts / self.counts.sum()
        return float(torch.special.entr(frequencies).sum().exp())

    @property
    def dead(self) -> Tensor:
        return (self.counts == 0).nonzero().squeeze(-1)

    def __repr__(self) -> str:
        return f"CodeUsage(perplexity={self.perplexity:.1f} of {len(self.counts)}, {len(self.dead)} dead)"


def codes_of(guide: Model, data: Mapping[str, Any], node: str) -> Tensor:
    """The codes that a guide chooses for rows of data, `(*worlds, *plates, *grid)`.

    Raises:
        GraphError: a node whose codes are not those of a codebook.
    """
    conditional = _quantized(guide, node)
    with torch.no_grad():
        values, worlds, sizes = _read(guide, data)
        return conditional.codes(guide.released(node, guide.run(values, worlds, sizes)[node], worlds))


def code_usage(guide: Model, data: Mapping[str, Any], node: str) -> CodeUsage:
    """How often a guide chooses each code for rows of data.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Codes(3, size=8, dim=2), x=dgm.Normal(5).given("z", net=dgm.MLP(16)))
        >>> model = dgm.compile(net, seed=0)
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(16)), share=model, seed=0)
        >>> len(code_usage(guide, {"x": torch.randn(100, 5)}, "z").counts)
        8
    """
    found = codes_of(guide, data, node)
    return CodeUsage(torch.bincount(found.flatten(), minlength=guide.conditional(node).variable.family.size))


def restart_codes(guide: Model, data: Mapping[str, Any], node: str) -> int:
    """Puts the vectors of codes that are never chosen onto outputs of the encoder for rows of data, drawn at random; returns how many there were."""
    dead, conditional = code_usage(guide, data, node).dead, _quantized(guide, node)
    with torch.no_grad():
        values, worlds, sizes = _read(guide, data)
        outputs = guide.nodes[node].prepare(guide.run(values, worlds, sizes))[0]
        rows = outputs.flatten(0, -2)
        conditional.book.weight[dead] = rows[torch.randint(len(rows), (len(dead),), device="cpu").to(rows.device)]
    return len(dead)


def _quantized(guide: Model, node: str) -> QuantizedConditional:
    conditional = guide.conditional(node)
    if not isinstance(conditional, QuantizedConditional):
        raise GraphError(f"node {node!r} ~ {conditional.variable.summary} does not choose from a codebook; expected the guide of a node dgm.Codes(...)")
    return conditional


def _read(guide: Model, data: Mapping[str, Any]) -> tuple[dict[str, Tensor], tuple[int, ...], dict[str, int]]:
    values = guide.encode(data, require=guide.net.inputs)
    return guide.layout.align_all(values), guide.layout.worlds(values), guide.layout.sizes(values)
