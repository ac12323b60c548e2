"""What an experiment with several guides found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..graph import Displayed
from .plots import comparison_figure

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["GuideComparison"]


@dataclass(frozen=True, eq=False, repr=False)
class GuideComparison(Displayed):
    """Runs of `compare_guides`; print it, or read `verdict`, `frame`, `summary`, `plot()`."""

    runs: tuple[Mapping[str, Any], ...]

    @property
    def frame(self) -> pandas.DataFrame:
        """A row a run: `choice`, `seed`, `bound` (ELBO) and `evidence` in nats a test row, their `gap`, median `khat`, share of `bad` rows, `seconds`, `parameters`, `failed`."""
        import pandas

        return pandas.DataFrame(self.runs)

    @property
    def summary(self) -> pandas.DataFrame:
        """A row a choice, the best bound first: means over seeds, `stderr` of the bound over seeds (missing for one), and how many runs `failed`."""
        import pandas

        rows = []
        for choice, runs in self.frame.groupby("choice", sort=False):
            good = runs[runs["failed"] == ""]
            means = {name: float(good[name].mean()) if name in good and len(good) else float("nan") for name in ("bound", "evidence", "gap", "khat", "bad", "seconds")}
            stderr = float(good["bound"].std() / len(good) ** 0.5) if len(good) > 1 else float("nan")
            rows.append({"choice": choice, **means, "stderr": stderr, "runs": len(runs), "failed": len(runs) - len(good)})
        return pandas.DataFrame(rows).sort_values("bound", ascending=False, na_position="last", ignore_index=True)

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        found = self.summary
        best = found.iloc[0]
        failed = int(found["failed"].sum())
        lost = f"; {failed} of {len(self.runs)} runs failed" if failed else ""
        if best["bound"] != best["bound"]:
            return f"no run ended well{lost}"
        said = f"best: {best['choice']}, {best['bound']:.3f} nats a row, {best['gap']:.3f} below the evidence"
        near = [row["choice"] for _, row in found.iloc[1:].iterrows() if best["bound"] - row["bound"] < 2 * (best["stderr"] ** 2 + row["stderr"] ** 2) ** 0.5]
        close = f"; not told apart from it by {best['runs']} seeds: {'; '.join(near)}" if near else "; one seed tells no error" if best["stderr"] != best["stderr"] else ""
        return f"{said}{close}{lost}"

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Bounds and gaps of every run by choice; saved where a path is given."""
        figure = comparison_figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    def __repr__(self) -> str:
        return f"{self.verdict}\n{self.summary.to_string(index=False, float_format='{:.3f}'.format)}"
