"""How far a guide is from each posterior, read off its importance weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..compile import Model, SubsetGuide
from ..families.randomness import seeded
from ..graph import Displayed
from ..queries import Diagnosis
from ..queries.methods import Importance
from ..queries.psis import diagnose_weights
from ..queries.subsets import SubsetDraws
from ..queries.weighting import WeightedDraws, evidence_for
from .plots import weights_figure

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["Weights", "judge_weights"]


@dataclass(frozen=True, eq=False, repr=False)
class Weights(Displayed, Diagnosis):
    """k-hat and effective draws of every row; print it, or read `verdict`, `frame`, `plot()`."""

    @property
    def frame(self) -> pandas.DataFrame:
        """A row for each row of data: `khat`, `effective` (draws), `verdict`."""
        import pandas

        khat = self.khat.flatten().tolist()
        said = ["good" if k < min(0.5, self.threshold) else "usable" if k < self.threshold else "bad" for k in khat]
        return pandas.DataFrame({"khat": khat, "effective": self.effective.flatten().tolist(), "verdict": said})

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The distributions of k-hat and of the share of effective draws over rows; saved where a path is given."""
        figure = weights_figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    __repr__ = Diagnosis.__repr__


def judge_weights(model: Model, guide: Model | SubsetGuide, data: Any, *, samples: int = 1000, seed: int | None = 0) -> Weights:
    """k-hat and effective sample size of p(x, z) / q(z | x) for every row of data.

    k-hat is the shape of the weights' tail: below 0.5 good, up to min(1 - 1 / log10 samples, 0.7) usable; above it the guide misses part of that row's
    posterior, or is too narrow, and what is averaged over its draws cannot be trusted, weighted or not. With a guide for any subset, rows may differ in what is missing.

    Raises:
        GraphError: as `posterior` with `Importance(guide)`.

    Source: Vehtari et al. (2024), https://arxiv.org/abs/1507.02646; Yao et al. (2018), https://arxiv.org/abs/1802.02538.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=1.0)))
        >>> guide = dgm.compile(dgm.BayesNet(x=dgm.Given(), z=dgm.Normal(loc=0.5 * dgm.Ref("x"), scale=0.8)))
        >>> dgm.judge_weights(model, guide, {"x": torch.tensor([0.0, 1.0])}).verdict
        'good'
    """
    with seeded(seed, model.device), torch.no_grad():
        if isinstance(guide, SubsetGuide):
            parts = [torch.cat(list(SubsetDraws(model, guide, data, "judge_weights", Importance(guide, samples)).weights(samples)))]
        else:
            values = evidence_for(model, data, Importance(guide, samples))
            parts = [torch.cat(list(piece.weights(samples))) for piece in WeightedDraws(model, guide, values).pieces()]
    found = diagnose_weights(torch.cat(parts, -1) if len(parts) > 1 else parts[0])
    return Weights(found.khat, found.effective, samples)
