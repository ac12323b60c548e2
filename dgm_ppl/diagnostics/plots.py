"""Pictures of what was found out about a guide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .ranks import binomial_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .agreement import Agreement
    from .comparison import GuideComparison
    from .gaps import Gaps
    from .report import Calibration, Line
    from .weights import Weights

__all__ = ["agreement_figure", "calibration_figure", "comparison_figure", "gaps_figure", "weights_figure"]

MOST, BINS = 10, 20
BAD, GOOD, CHANCE = "#b2182b", "#4d4d4d", "0.85"


def calibration_figure(found: Calibration) -> Figure:
    """Histograms of the least uniform ranks, and two curves of coverage."""
    from matplotlib.figure import Figure

    lines = sorted(found.lines, key=lambda line: line.test.p)[:MOST]
    columns = 4
    rows = -(-(len(lines) + 2) // columns)
    figure = Figure(figsize=(3 * columns, 2.4 * rows), layout="constrained")
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    levels = torch.linspace(0.025, 0.975, 39).tolist()
    _plot_coverage(places[0], found.coverage(levels=levels), "coverage of highest density")
    _plot_coverage(places[1], found.tarp(levels), "coverage around references (TARP)")
    for axes, line in zip(places[2:], lines):
        _plot_ranks(axes, line, line.adjusted < found.level)
    for axes in places[2 + len(lines):]:
        axes.set_axis_off()
    figure.suptitle(found.verdict.split(":")[0], fontsize=11)
    return figure


def _plot_coverage(axes: Axes, frame: object, title: str) -> None:
    axes.fill_between(frame["level"], frame["low"], frame["high"], color=CHANCE, linewidth=0)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    axes.plot(frame["level"], frame["coverage"], color=GOOD if frame["within"].all() else BAD)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="level", ylabel="worlds inside")
    axes.set_title(title, fontsize=8)


def _plot_ranks(axes: Axes, line: Line, rejected: bool) -> None:
    bins = min(BINS, line.test.draws + 1)
    share = (line.test.ranks.double() + 0.5) / (line.test.draws + 1)
    counts = torch.histc(share, bins, 0, 1)
    low, high = binomial_band(1 / bins, len(share), 0.99)
    axes.axhspan(float(low) * len(share), float(high) * len(share), color=CHANCE, linewidth=0)
    axes.bar(((torch.arange(bins) + 0.5) / bins).tolist(), counts.tolist(), width=0.9 / bins, color=BAD if rejected else GOOD)
    axes.set(xlim=(0, 1), yticks=[], xlabel="rank of the truth")
    axes.set_title(f"{line.label} (p {line.test.p:.2g})", fontsize=8)


def weights_figure(found: Weights) -> Figure:
    """k-hat of all rows, and the share of effective draws."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.8), layout="constrained")
    shapes, shares = figure.subplots(1, 2)
    khat = found.khat.flatten().clamp(-0.5, 1.5)
    shapes.hist(khat.tolist(), bins=30, range=(-0.5, 1.5), color=GOOD)
    for limit, color in ((0.5, "0.6"), (found.threshold, BAD)):
        shapes.axvline(limit, color=color, linestyle=":")
    shapes.set(xlabel="k-hat (dotted: good, usable below)", ylabel="rows")
    shares.hist((found.effective.flatten() / found.samples).tolist(), bins=20, range=(0, 1), color=GOOD)
    shares.set(xlabel="effective share of draws", ylabel="rows")
    figure.suptitle(found.verdict, fontsize=10)
    return figure


def gaps_figure(found: Gaps) -> Figure:
    """Both gaps of every row, the largest first."""
    from matplotlib.figure import Figure

    order = found.total.flatten().argsort(descending=True)
    family, amortized = (gap.flatten()[order].tolist() for gap in (found.approximation, found.amortization))
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(family)), family, color=BAD, label="approximation")
    axes.bar(range(len(family)), amortized, bottom=family, color=GOOD, label="amortization")
    axes.set(xlabel="row, largest first", ylabel="nats")
    axes.legend(frameon=False)
    axes.set_title(found.verdict.split(",")[0], fontsize=9)
    return figure


def agreement_figure(found: Agreement) -> Figure:
    """The classifier's accuracy in every world, with its error, and how far means and deviations are off."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    accuracies, moments = figure.subplots(1, 2)
    accuracies.axhline(0.5, color="0.6", linewidth=0.8)
    accuracies.errorbar(
        [pair.world for pair in found.pairs], found.accuracy.tolist(), yerr=[2 * pair.accuracy.stderr for pair in found.pairs], fmt="o", color=GOOD, markersize=4,
    )
    accuracies.set(xlabel="world", ylabel="C2ST (0.5: cannot tell)", ylim=(0.4, 1.02))
    frame = found.frame
    moments.axhline(1, color="0.6", linewidth=0.8)
    for node, rows in frame.groupby("node"):
        moments.plot(rows["shift"].tolist(), rows["ratio"].tolist(), "o", markersize=4, label=str(node))
    moments.set(xlabel="shift of the mean, in reference deviations", ylabel="ratio of deviations", yscale="log")
    if frame["node"].nunique() <= 10:
        moments.legend(frameon=False, fontsize=7)
    figure.suptitle(found.verdict.split(":")[0], fontsize=10)
    return figure


def comparison_figure(found: GuideComparison) -> Figure:
    """The bound and the gap to the evidence of every run, a line for each choice, the best on top."""
    from matplotlib.figure import Figure

    summary, frame = found.summary, found.frame
    frame = frame[frame["failed"] == ""]
    figure = Figure(figsize=(10, 1.4 + 0.35 * len(summary)), layout="constrained")
    bounds, gaps = figure.subplots(1, 2, sharey=True)
    for place, choice in enumerate(summary["choice"]):
        runs = frame[frame["choice"] == choice]
        for axes, column in ((bounds, "bound"), (gaps, "gap")):
            if len(runs):
                axes.plot(runs[column].tolist(), [-place] * len(runs), "o", color=GOOD, alpha=0.5, markersize=4)
                axes.plot([float(runs[column].mean())], [-place], "|", color=BAD, markersize=12)
    bounds.set_yticks([-place for place in range(len(summary))], summary["choice"].tolist(), fontsize=7)
    bounds.set_xlabel("ELBO of test rows, nats")
    gaps.set_xlabel("gap to the evidence, nats")
    return figure
