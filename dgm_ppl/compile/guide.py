"""A compiled recognition net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..conditionals import Conditional
from ..network import RecognitionNet, build_conditionals
from .model import Model

__all__ = ["Guide"]


class Guide(Model):
    """q(latents | observed). It takes the model's data and leaves out what it does not read.

    Latents that take the model's own conditional are sampled here only where that conditional and those above it are at hand:
    they have no parameters, or `share=model` gave them. Otherwise they are left to the model, which is the same distribution.
    """

    is_guide = True

    @classmethod
    def of(cls, net: RecognitionNet, share: Model | None, made: Mapping[str, Conditional] = {}) -> Guide:
        """A net compiled; `share` is a model whose own conditionals it takes, `made` are conditionals that are there already."""
        shared = {} if share is None else dict(share.shared)
        own = [name for name in net.order if name in net.own or net[name].is_deterministic and name in net.model]
        kept = {**made, **{name: share.conditionals[name] for name in own if share is not None and name in share.conditionals}}
        built = {**build_conditionals(net, shared, skip=kept), **kept}
        for name, conditional in built.items():
            if name not in kept:
                conditional.of_model(None if share is None or name not in share.conditionals else share.conditionals[name])
        left: set[str] = set()
        for name in own:
            if name not in kept and any(True for _ in built[name].parameters()) or left & set(net[name].all_parents):
                left.add(name)
        return cls(net, {name: conditional for name, conditional in built.items() if name not in left}, shared)

    def encode(self, data: Mapping[str, Any], require: Sequence[str] = ()) -> dict[str, Tensor]:
        return self.layout.encode(data, allow=self.net.model, require=require, like=self.anchor)
