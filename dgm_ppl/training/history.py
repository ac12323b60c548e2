"""History: what a run recorded, as rows, as a frame and as learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["History", "Tally", "learning_curves"]


@dataclass
class Tally:
    """The mean loss of each player over the worlds seen since the last row of the history."""

    sums: list[float]
    rows: float = 0.0

    def add(self, losses: Sequence[float], rows: float) -> None:
        """Counts one step: the losses of its players and how many worlds its batch held."""
        self.sums = [total + loss * rows for total, loss in zip(self.sums, losses)]
        self.rows += rows

    def take(self) -> list[float]:
        """The means so far; the tally starts again."""
        means = [total / self.rows if self.rows else float("nan") for total in self.sums]
        self.sums, self.rows = [0.0] * len(self.sums), 0.0
        return means


@dataclass
class History:
    """Rows of step, epoch, loss (one column a player if there are several), validation, learning rate and seconds."""

    players: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def losses(self) -> list[str]:
        """The names of the loss columns.

        >>> History(("all",)).losses, History(("generator", "critic")).losses
        (['loss'], ['loss generator', 'loss critic'])
        """
        return ["loss"] if len(self.players) == 1 else [f"loss {player}" for player in self.players]

    @property
    def settled(self) -> bool:
        """Whether the loss of the last four rows is no better than that of the four before, by 1e-4 nats a world.

        >>> falling, flat = History(("all",)), History(("all",))
        >>> falling.rows, flat.rows = [{"loss": -float(row)} for row in range(8)], [{"loss": 1.0}] * 8
        >>> falling.settled, flat.settled
        (False, True)
        """
        if len(self.rows) < 8:
            return False
        last = [row[self.losses[0]] for row in self.rows[-8:]]
        return sum(last[:4]) - sum(last[4:]) < 4e-4

    def add(
        self, *, step: int, epoch: int, losses: Sequence[float], validation: float, rate: float, seconds: float
    ) -> None:
        """Adds one row."""
        means = dict(zip(self.losses, losses))
        self.rows.append(
            {"step": step, "epoch": epoch, **means, "validation": validation, "learning_rate": rate, "seconds": seconds}
        )

    def frame(self) -> pandas.DataFrame:
        """The rows as a frame."""
        import pandas

        names = ["step", "epoch", *self.losses, "validation", "learning_rate", "seconds"]
        return pandas.DataFrame(self.rows, columns=names)


def learning_curves(history: pandas.DataFrame, best: int | None = None) -> Figure:
    """Losses and validation against the step, the best step marked; a figure of its own, outside of pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for name in [name for name in history.columns if name.startswith("loss")]:
        axes.plot(history["step"], history[name], label=name)
    validated = history.dropna(subset=["validation"])
    if len(validated):
        axes.plot(validated["step"], validated["validation"], "o-", markersize=3, label="validation")
    if best is not None:
        axes.axvline(best, color="gray", linestyle=":", label=f"best, step {best}")
    axes.set(xlabel="step", ylabel="nats a world")
    axes.legend()
    return figure
