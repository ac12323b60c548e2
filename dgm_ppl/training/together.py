"""A team of processes: equal parameters, the same steps, each on its rows of every batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn

from .feed import Batch
from .interrupt import Ending
from .team import Share, Team

__all__ = ["Together"]


class Together(Team):
    """A member of a team of processes.

    The loss of a share is weighted by its rows, gradients are summed in one message, and buffers that a step changed get
    the weighted mean of the changes: all as one process would have it for the whole batch, up to rounding. A member
    without rows in a small batch computes on the first row with weight zero, so that its noise stays in step.
    """

    def __init__(self, device: torch.device, interrupt: Ending) -> None:
        self.device, self.interrupt = device, interrupt
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self._before: dict[str, Tensor] = {}

    def share(self, rows: int) -> Share:
        return share_of(rows, self.rank, self.size)

    def cut(self, batch: Batch, share: Share) -> Batch:
        return {name: column[share.start : share.stop] for name, column in batch.items()}

    def begin(self, objective: nn.Module, share: Share) -> None:
        """Tells the objective its rows and remembers the buffers."""
        objective.shard(share.start, share.total)
        self._before = {name: b.clone() for name, b in objective.named_buffers() if b.is_floating_point()}

    def end(self, objective: nn.Module, share: Share) -> None:
        """Gives every process the weighted mean of the changes of the buffers."""
        for name, buffer in objective.named_buffers():
            if name in self._before:
                change = (buffer - self._before[name]) * share.weight
                buffer.copy_(self._before[name] + self.total(change))

    def combine(self, parameters: Sequence[nn.Parameter], loss: Tensor, share: Share) -> Tensor:
        """Sums the weighted gradients and losses of all processes, in one message."""
        present = loss.new_tensor([parameter.grad is not None for parameter in parameters])
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        parts = [loss.reshape(1) * share.weight, present, *(grad.reshape(-1) * share.weight for grad in grads)]
        loss, present, *grads = self.total(torch.cat(parts)).split([part.numel() for part in parts])
        for parameter, grad, missing in zip(parameters, grads, self._missing(parameters, present)):
            parameter.grad = None if missing else grad.view_as(parameter).to(parameter.dtype)
        return loss[0]

    def total(self, values: Tensor) -> Tensor:
        distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        return bool(self.total(torch.tensor(float(flag), device=self.device)) > 0)

    def _missing(self, parameters: Sequence[nn.Parameter], present: Tensor) -> list[bool]:
        """Which parameters have a gradient in no process; looked up only where one has none in this process."""
        if all(parameter.grad is not None for parameter in parameters):
            return [False] * len(parameters)
        return (present == 0).tolist()


def share_of(rows: int, rank: int, size: int) -> Share:
    """The rows of one of `size` processes.

    >>> share_of(5, rank=1, size=2)
    Share(start=3, stop=5, total=5, weight=0.4)
    """
    most = -(-rows // size)
    start, stop = min(rank * most, rows), min((rank + 1) * most, rows)
    return Share(start, stop, rows, (stop - start) / rows) if stop > start else Share(0, 1, rows, 0.0)
