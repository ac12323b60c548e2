"""What stands behind the end of a sequence changes no bit of a bound."""

from __future__ import annotations

import torch

import dgm_ppl as dgm


def padding_counts_for_nothing(model, guide, data, other, lengths):
    """`other` differs from `data` only behind `lengths`; the bounds of both are equal, bit for bit, and their gradients finite."""
    bound, losses = dgm.ELBO(model, guide), []
    for each in (data, other):
        torch.manual_seed(1)
        losses.append(bound(bound.prepare({**each, "time": lengths})))
    assert torch.equal(*losses)
    losses[0].backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in guide.parameters())
