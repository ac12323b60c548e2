"""What each latent reads, for many patterns of evidence at once: the elimination of `graph.invert` on tables of booleans."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..graph import DAG

__all__ = ["Boundaries"]


class Boundaries(nn.Module):
    """The Markov boundary of each latent among what is known and drawn before it, for a batch of patterns.

    Latents on which nothing known depends are left out; the others are eliminated, the last drawn first, from the moral graph of what is known
    and its ancestors. The neighbours of a node that is eliminated are what it reads, and become neighbours of each other.

    Args:
        dag: the arrows; deterministic nodes are read through, their children taking their parents.
        nodes: the random nodes and inputs, which number rows and columns of the tables.
        order: the random nodes, first drawn first.

    Example:
        >>> found, drawn = Boundaries(DAG("z -> x, z -> y"), ["z", "x", "y"], ["y", "x", "z"])(torch.tensor([[False, True, True], [False, False, True]]))
        >>> found[:, 0].tolist(), drawn.tolist()
        ([[False, True, True], [False, False, True]], [[True, False, False], [True, False, False]])
    """

    def __init__(self, dag: DAG, nodes: Sequence[str], order: Sequence[str]):
        super().__init__()
        place = {name: at for at, name in enumerate(nodes)}
        self.order = [place[name] for name in order]
        arrows = torch.zeros(len(nodes), len(nodes), dtype=torch.bool, device="cpu")               # [child, parent]
        for name in nodes:
            through = [*dag.parents(name)]
            for parent in through:                                          # grows where a parent is deterministic
                if parent in place:
                    arrows[place[name], place[parent]] = True
                else:
                    through.extend(dag.parents(parent))
        above = arrows | torch.eye(len(nodes), dtype=torch.bool, device="cpu")
        while not torch.equal(more := (above.float() @ above.float()) > 0, above):
            above = more
        married = (arrows.unsqueeze(2) & arrows.unsqueeze(1)).flatten(1)                                # [child, parent and parent]
        for name, table in (("joined", arrows | arrows.T), ("above", above.float()), ("married", married.float())):
            self.register_buffer(name, table, persistent=False)

    def forward(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """For patterns `(patterns, nodes)`: what each node reads, `(patterns, nodes, nodes)`, and which nodes are drawn, `(patterns, nodes)`."""
        kept = (known.to(self.above.dtype) @ self.above) > 0
        married = (kept.to(self.married.dtype) @ self.married).reshape(*kept.shape, -1) > 0
        joined = married | (self.joined & kept.unsqueeze(2) & kept.unsqueeze(1))
        drawn, reads = kept & ~known, torch.zeros_like(joined)
        for node in reversed(self.order):
            here = drawn[:, node]
            neighbours = joined[:, node] & here.unsqueeze(1)
            neighbours[:, node] = False
            reads[:, node] = neighbours
            joined |= neighbours.unsqueeze(2) & neighbours.unsqueeze(1)
            joined[:, node] &= ~here.unsqueeze(1)
            joined[:, :, node] &= ~here.unsqueeze(1)
        return reads, drawn
