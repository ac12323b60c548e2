"""Several processes on one machine: each holds its rows of every batch. The one door to Lightning Fabric."""

from __future__ import annotations

import signal
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgm_ppl.training.checkpoint import read, write
from dgm_ppl.training.feed import Batch
from dgm_ppl.training.journal import Journal
from dgm_ppl.training.learner import Position
from dgm_ppl.training.plan import Plan
from dgm_ppl.training.randomness import generator_states, set_generator_states
from dgm_ppl.training.sitting import Outcome, sit
from dgm_ppl.training.team import Alone, Share

__all__ = ["Together", "sit_together"]


def sit_together(plan: Plan, objective: nn.Module, data: Any, validation: Any) -> Outcome:
    """Runs the plan in `plan.devices` processes and brings the outcome back into this one.

    On a CPU the processes are forked, so that a script needs no main guard and nothing has to be picklable; beside an
    accelerator they are spawned, and both are needed.
    """
    fabric = _fabric(plan)
    objective.to(dtype=plan.dtype)
    with tempfile.TemporaryDirectory() as folder, _launching():
        result = Path(folder) / "result.safetensors"
        fabric.launch(_member, plan, objective, data, validation, generator_states(torch.device("cpu")), str(result))
        found = read(result)
    objective.load_state_dict(found["objective"])
    if plan.seed is None:
        set_generator_states(found["generators"], torch.device("cpu"))
    journal = Journal(tuple(found["players"]), plan.stopping)
    journal.restore(found["journal"])
    return Outcome(found["stopped"], Position(*found["position"]), found["seconds"], journal)


class Together(Alone):
    """A member of a team of processes that hold equal parameters and take the same steps.

    The loss of a share is weighted by its rows, gradients are summed in one message, and buffers that a step changed get
    the weighted mean of the changes: all as one process would have it for the whole batch, up to rounding. A member
    without rows in a small batch computes on the first row with weight zero, so that its noise stays in step.
    """

    def __init__(self, fabric: Any) -> None:
        self.fabric = fabric
        self.rank, self.size = fabric.global_rank, fabric.world_size
        self._before: dict[str, Tensor] = {}

    def share(self, rows: int) -> Share:
        """Which rows of a batch are this process's."""
        size = -(-rows // self.size)
        start, stop = min(self.rank * size, rows), min((self.rank + 1) * size, rows)
        return Share(start, stop, rows, (stop - start) / rows) if stop > start else Share(0, 1, rows, 0.0)

    def cut(self, batch: Batch, share: Share) -> Batch:
        """This process's rows of a batch."""
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
        """Sums the weighted gradients and losses of all processes."""
        there = torch.tensor([parameter.grad is not None for parameter in parameters], device=loss.device)
        there = self.total(there.to(loss.dtype)) > 0
        used = [parameter for parameter, is_there in zip(parameters, there.tolist()) if is_there]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in used]
        flat = self.total(torch.cat([loss.reshape(1), *(grad.reshape(-1) for grad in grads)]) * share.weight)
        for parameter, part in zip(used, flat[1:].split([parameter.numel() for parameter in used])):
            parameter.grad = part.view_as(parameter)
        return flat[0]

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        return self.fabric.all_reduce(values, reduce_op="sum")

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self.total(torch.tensor(float(flag), device=self.fabric.device)) > 0)


def _fabric(plan: Plan) -> Any:
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise ImportError(
            f"fit: expected Lightning Fabric for devices={plan.devices}; got none installed; "
            "try pip install 'dgm-ppl[distributed]', or devices=1"
        ) from None
    forked = plan.device.type == "cpu" and not torch.accelerator.is_available()
    strategy = "ddp_fork" if forked else "ddp_spawn"
    return Fabric(accelerator=plan.device.type, devices=plan.devices, strategy=strategy)


def _member(
    fabric: Any, plan: Plan, objective: nn.Module, data: Any, validation: Any, generators: dict[str, Tensor], result: str
) -> None:
    if plan.device.type == "cpu":
        torch.set_num_threads(1)  # a forked process cannot use the threads of its parent
    set_generator_states(generators, torch.device("cpu"))
    outcome = sit(replace(plan, device=fabric.device), objective, data, validation, Together(fabric))
    if fabric.global_rank == 0:
        write(Path(result), _packed(outcome, objective))


def _packed(outcome: Outcome, objective: nn.Module) -> dict[str, Any]:
    return {
        "objective": objective.state_dict(),
        "generators": generator_states(torch.device("cpu")),
        "stopped": outcome.stopped,
        "position": list(outcome.position),
        "seconds": outcome.seconds,
        "players": list(outcome.journal.history.players),
        "journal": outcome.journal.state(),
    }


@contextmanager
def _launching() -> Iterator[None]:
    """Leaves Ctrl-C to the members, which end together after the step, and warnings about forking aside."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        yield
