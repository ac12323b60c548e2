"""What answering will take, said before it is done."""

from __future__ import annotations

from dataclasses import dataclass

from .plan import Plan

__all__ = ["PlanReport", "report", "told"]


@dataclass(frozen=True)
class PlanReport:
    """The elimination of some hidden nodes: `width` is the most nodes of a clique less one, `largest` the states of the largest clique.

    One row needs `bytes` of memory, of which `allowed` may be taken, and `products` multiplications, `cases` times over where the states
    of `cutset` are gone through one by one. `pruned` nodes matter for nothing that is asked.
    """

    rows: int
    eliminated: tuple[str, ...]
    pruned: tuple[str, ...]
    width: int
    largest: int
    clique: tuple[str, ...]
    products: int
    bytes: int
    allowed: int
    cutset: tuple[str, ...] = ()
    cases: int = 1

    @property
    def fits(self) -> bool:
        """Whether the memory allowed is enough."""
        return self.bytes <= self.allowed

    def __str__(self) -> str:
        cut = f"; {self.cases} cases: every state of {', '.join(self.cutset)}" if self.cutset else ""
        verdict = "" if self.fits else f"; does not fit: {told(self.allowed)} are allowed"
        return (
            f"{self.rows} row{'s' if self.rows != 1 else ''}: {len(self.eliminated)} nodes eliminated, {len(self.pruned)} pruned; width {self.width}, largest clique "
            f"{self.largest:.4g} states ({', '.join(self.clique[:6])}{', ...' if len(self.clique) > 6 else ''}); one row: {told(self.bytes)}, {self.products:.4g} products"
            f"{cut}{verdict}"
        )


def report(plan: Plan, needed: int, *, rows: int, pruned: tuple[str, ...], allowed: int, cutset: tuple[str, ...] = (), cases: int = 1) -> PlanReport:
    """The report of a plan whose rows need so many bytes."""
    return PlanReport(rows, tuple(sorted(plan.cards)), pruned, plan.order.width, plan.order.largest, plan.largest, plan.order.states, needed, allowed, cutset, cases)


def told(number: int) -> str:
    """A number of bytes in words.

    >>> told(3 * 2**20)
    '3 MiB'
    """
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            return f"{number:.3g} {unit}"
        number /= 1024
