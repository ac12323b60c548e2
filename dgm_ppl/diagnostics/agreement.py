"""A guide's draws held against reference draws of the same posterior."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from ..compile import Model, SubsetGuide
from ..families.randomness import seeded
from ..graph import Displayed, GraphError
from ..metrics import Measured, classifier_two_sample
from ..queries import Amortized, Method, posterior
from ..structure import holm
from .plots import agreement_figure
from .quantities import cells_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["Agreement", "agreement"]

NOTICED = 0.55


@dataclass(frozen=True)
class Pair:
    """One world: the accuracy of a classifier that tells the draws from the reference, and how far mean and spread of each node's worst element are off."""

    world: int
    accuracy: Measured
    shift: Mapping[str, float]
    ratio: Mapping[str, float]


@dataclass(frozen=True, eq=False, repr=False)
class Agreement(Displayed):
    """Draws against reference draws, world by world; print it, or read `verdict`, `frame`, `plot()`."""

    pairs: tuple[Pair, ...]
    draws: int
    level: float

    @property
    def accuracy(self) -> Tensor:
        """The classifier's accuracy in each world: 0.5 where it cannot tell."""
        return torch.tensor([pair.accuracy.value for pair in self.pairs])

    @property
    def told_apart(self) -> tuple[int, ...]:
        """The worlds in which the classifier tells them apart, at the level for all worlds together (Holm)."""
        adjusted = holm(numpy.array([pair.accuracy.p for pair in self.pairs]))
        return tuple(pair.world for pair, p in zip(self.pairs, adjusted) if p < self.level)

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        apart, mean = self.told_apart, float(self.accuracy.mean())
        found = f"C2ST {mean:.3f} (mean of {len(self.pairs)} world{'s' if len(self.pairs) > 1 else ''}), {float(self.accuracy.max()):.3f} (largest), {self.draws} draws each"
        if not apart:
            return f"agrees: {found}; no world is told apart at level {self.level:g}"
        degree = "nearly agrees" if float(self.accuracy.max()) < NOTICED else "differs"
        return f"{degree}: {found}; told apart in {len(apart)} of {len(self.pairs)} worlds"

    @property
    def frame(self) -> pandas.DataFrame:
        """A row for each world and node: `c2st` of all nodes together with `stderr` and `p`; `shift` of the mean in reference deviations, `ratio` of deviations."""
        import pandas

        return pandas.DataFrame([
            {"world": pair.world, "node": node, "shift": pair.shift[node], "ratio": pair.ratio[node], "c2st": pair.accuracy.value, "stderr": pair.accuracy.stderr, "p": pair.accuracy.p}
            for pair in self.pairs for node in pair.shift
        ])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Accuracy of every world, shifts and ratios; saved where a path is given."""
        figure = agreement_figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    def __repr__(self) -> str:
        return self.verdict


def agreement(
    model: Model, answer: Model | Method, evidence: Any, reference: Method | Mapping[str, Any] | None = None, *, samples: int = 1000, level: float = 0.01, seed: int | None = 0,
) -> Agreement:
    """Tells draws of a guide (or of a method that starts from it) from reference draws of the same posterior, by a classifier: C2ST, 0.5 where it cannot.

    Args:
        model: a compiled net.
        answer: a compiled guide, or a method such as `Importance(guide, 20000)` (many, as it draws with replacement), `Refined(guide)`.
        evidence: one row or some.
        reference: a method such as `NUTS(samples=2000)`; draws by node, `(samples, *worlds, *plates, *event)`; or None for the exact posterior. Chains
            should be long: draws that hang together make small differences look sure.
        samples: draws of each.
        level: of all tests together.
        seed: makes the answer reproducible and leaves the global generator as it was.

    Raises:
        GraphError: as `posterior`; reference draws that lack every latent, or have another shape, or are too few.

    Source: Lopez-Paz and Oquab (2017), https://arxiv.org/abs/1610.06545; Lueckmann et al. (2021), https://arxiv.org/abs/2101.04653.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=1.0)))
        >>> prior = dgm.compile(dgm.BayesNet(x=dgm.Given(), z=dgm.Normal(loc=0.0, scale=1.0)))
        >>> dgm.agreement(model, prior, {"x": torch.tensor([3.0])}).verdict.startswith("differs: C2ST")
        True
    """
    method = Amortized(answer, samples=samples) if isinstance(answer, (Model, SubsetGuide)) else answer
    with seeded(seed, model.device):
        found = posterior(model, evidence, method=method)
        ours, worlds = found.sample(samples), found.worlds
        theirs = {name: torch.as_tensor(value) for name, value in reference.items()} if isinstance(reference, Mapping) else posterior(model, evidence, method=reference).sample(samples)
        names = [name for name in model.random if name in ours and name in theirs]
        _check(model, names, ours, theirs, samples)
        return Agreement(tuple(_pairs(model, names, ours, theirs, worlds, samples)), samples, level)


def _check(model: Model, names: list[str], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], samples: int) -> None:
    if not names:
        raise GraphError(f"agreement: the reference has none of the latents {[name for name in model.random if name in ours]}; got {list(theirs)}")
    for name in names:
        if len(theirs[name]) < samples:
            raise GraphError(f"agreement: node {name!r}: expected {samples} reference draws; got {len(theirs[name])}; try samples={len(theirs[name])}")
        if theirs[name].shape[1:] != ours[name].shape[1:]:
            raise GraphError(f"agreement: node {name!r}: expected reference draws of the shape (samples, {', '.join(map(str, ours[name].shape[1:]))}); got {tuple(theirs[name].shape)}")


def _pairs(model: Model, names: list[str], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], worlds: tuple[int, ...], samples: int) -> Iterator[Pair]:
    def rows(draws: Mapping[str, Tensor], name: str) -> Tensor:
        spaced = torch.linspace(0, len(draws[name]) - 1, samples).round().long().to(draws[name].device)
        cells = cells_of(model, name, draws[name][spaced])
        return cells.reshape(samples, -1, cells.shape[-1]).to(model.anchor.dtype)                       # (samples, worlds, cells)
    a, b = ({name: rows(draws, name) for name in names} for draws in (ours, theirs))
    for world in range(a[names[0]].shape[1]):
        x, y = (torch.cat([each[name][:, world] for name in names], -1).to(model.device) for each in (a, b))
        shift, ratio = {}, {}
        for name in names:
            mine, reference = a[name][:, world], b[name][:, world].to(model.device)
            spread = reference.std(0).clamp_min(1e-12)
            shift[name] = float(((mine.mean(0) - reference.mean(0)) / spread).abs().max())
            off = (mine.std(0) / spread).clamp_min(1e-12).log()
            ratio[name] = float(off.flatten()[off.abs().argmax()].exp())
        yield Pair(world, classifier_two_sample(x, y), shift, ratio)
