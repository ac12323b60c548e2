"""A coupling that knows its two halves: zuko looks them up in a mask at every call, which an accelerator waits for."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints

__all__ = ["Coupling"]


class Coupling(nn.Module):
    """zuko's coupling layer, the positions of its halves held as buffers."""

    def __init__(self, layer: Any):
        super().__init__()
        self.layer = layer
        mask = layer.mask
        kept, moved = mask.nonzero().squeeze(-1), (~mask).nonzero().squeeze(-1)
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("moved", moved, persistent=False)
        self.register_buffer("order", torch.cat([kept, moved]).argsort(), persistent=False)

    def forward(self, context: Tensor | None = None) -> Transform:
        return Coupled(partial(self.layer.meta, context), self.kept, self.moved, self.order)


class Coupled(Transform):
    """y_a = x_a, y_b = f(x_b | x_a)."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, meta: Any, kept: Tensor, moved: Tensor, order: Tensor):
        super().__init__()
        self.meta, self.kept, self.moved, self.order = meta, kept, moved, order

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.index_select(-1, self.kept), x.index_select(-1, self.moved)

    def _whole(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([kept, moved], -1).index_select(-1, self.order)

    def _call(self, x: Tensor) -> Tensor:
        kept, moved = self._halves(x)
        return self._whole(kept, self.meta(kept)(moved))

    def _inverse(self, y: Tensor) -> Tensor:
        kept, moved = self._halves(y)
        return self._whole(kept, self.meta(kept).inv(moved))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = self._halves(x)
        moved, ladj = self.meta(kept).call_and_ladj(moved)
        return self._whole(kept, moved), ladj

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]
