"""What an expectation step hands to a maximisation."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ..graph import GraphError
from .samples import Samples

__all__ = ["Statistics", "check_possible"]


@dataclass(eq=False)
class Statistics:
    """What an expectation step found: the objective, log p of all rows, expected counts and weighted cases by node."""

    log_likelihood: float = 0.0
    counts: dict[str, Tensor] = field(default_factory=dict)
    samples: dict[str, list[Samples]] = field(default_factory=dict)


def check_possible(logs: Tensor, weight: Tensor, rows: Tensor) -> None:
    """Raises GraphError where rows that count are impossible at the model's parameters."""
    broken = ~(logs > -float("inf")) & (weight > 0)
    if bool(broken.any()):
        shown = rows[broken][:8].tolist()
        raise GraphError(
            f"estimate: {int(broken.sum())} rows have probability zero at the parameters that the search starts from or at fixed ones: row{'s' if len(shown) > 1 else ''} "
            f"{', '.join(map(str, shown))}; drop them, or start from parameters that allow them: dgm.compile(net, seed=0)"
        )
