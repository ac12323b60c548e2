"""Where the ELBO is lost: to the guide's family, or to amortization."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..compile import Model
from ..data import columns
from ..families.randomness import seeded
from ..graph import Displayed, GraphError
from ..network import RecognitionNet
from ..queries import Amortized, Refined, Score, log_prob
from ..queries.posterior import GuidePosterior
from ..queries.refining import RefinedPosterior
from .plots import gaps_figure

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["Gaps", "gaps"]


@dataclass(frozen=True, eq=False, repr=False)
class Gaps(Displayed):
    """log p(x), the ELBO of refined guides and of the guide, in nats for each row; `structure` is what a linear-Gaussian twin says of the graph.

    `evidence` is a `Score` that says whether it is exact. Errors are those of the draws.
    """

    evidence: Score
    refined: Tensor
    refined_stderr: Tensor
    bound: Tensor
    bound_stderr: Tensor
    structure: float | None = None

    @property
    def approximation(self) -> Tensor:
        """What the best member of the guide's family, found by refining, loses: log p(x) - ELBO(q*)."""
        return self.evidence.value.to(self.refined) - self.refined

    @property
    def amortization(self) -> Tensor:
        """What refining gains: ELBO(q*) - ELBO(q)."""
        return self.refined - self.bound

    @property
    def total(self) -> Tensor:
        """KL(q || p(z | x)) = log p(x) - ELBO(q)."""
        return self.approximation + self.amortization

    @property
    def stderr(self) -> dict[str, float]:
        """Standard errors of the mean gaps over these very rows."""
        squares = {"evidence": 0.0 if self.evidence.stderr is None else _mean_square(self.evidence.stderr), "refined": _mean_square(self.refined_stderr), "bound": _mean_square(self.bound_stderr)}
        parts = {"approximation": ("evidence", "refined"), "amortization": ("refined", "bound"), "total": ("evidence", "bound")}
        return {name: math.sqrt(sum(squares[part] for part in of)) for name, of in parts.items()}

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        family, amortized, total = (float(gap.mean()) for gap in (self.approximation, self.amortization, self.total))
        error = self.stderr
        said = f"the guide loses {total:.3f} ± {error['total']:.3f} nats a row against the {'exact' if self.evidence.kind == 'exact' else 'estimated'} evidence"
        if total < max(3 * error["total"], 0.01):
            return f"{said}: as good as exact"
        if family > amortized:
            return f"{said}, {family:.3f} of them to its family or structure: use a richer one (or refine for more steps, if they were few)"
        return f"{said}, {amortized:.3f} of them to amortization: train longer, use larger networks, or refine"

    @property
    def frame(self) -> pandas.DataFrame:
        """A row for each row of data: `evidence`, `refined`, `bound`, `approximation`, `amortization`."""
        import pandas

        columns = {"evidence": self.evidence.value, "refined": self.refined, "bound": self.bound, "approximation": self.approximation, "amortization": self.amortization}
        return pandas.DataFrame({name: value.flatten().tolist() for name, value in columns.items()})

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Both gaps of every row, stacked; saved where a path is given."""
        figure = gaps_figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    def __repr__(self) -> str:
        error = self.stderr
        rows = [f"  {name} gap: {float(gap.mean()):.3f} ± {error[name]:.3f} nats" for name, gap in (("approximation", self.approximation), ("amortization", self.amortization))]
        twin = [f"  the structure costs a linear-Gaussian twin {self.structure:.3f} nats"] if self.structure is not None else []
        return "\n".join([self.verdict, *rows, *twin])


def gaps(
    model: Model, guide: Model, data: Any, *, samples: int = 2000, steps: int = 300, particles: int = 16, lr: float = 0.02, seed: int | None = 0,
) -> Gaps:
    """Splits log p(x) - ELBO(q) of each row into the approximation gap and the amortization gap.

    log p(x) is exact where the model can be eliminated exactly, else estimated by importance sampling from the refined guides (too small on
    average, so that the approximation gap is too). ELBO(q*) is that of a copy of the guide refined on each row by `steps` of gradient, which costs a short
    training a row: give some tens of rows.

    Args:
        model, guide: compiled nets.
        data: rows, a dict or a DataFrame.
        samples: draws for each ELBO.
        steps, particles, lr: of the refinement, as in `Refined`.
        seed: makes the answer reproducible and leaves the global generator as it was.

    Raises:
        GraphError: as `posterior`; a guide that has nothing to refine.

    Source: Cremer et al. (2018), https://arxiv.org/abs/1801.03558.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=1.0))
        >>> guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4)), seed=0)                    # not trained
        >>> found = dgm.gaps(dgm.compile(net), guide, {"x": torch.tensor([4.0])})
        >>> bool(found.approximation < 0.05), bool(found.amortization > 0.5), "to amortization" in found.verdict
        (True, True, True)
    """
    values = model.encode(data if isinstance(data, Mapping) else columns(data))
    with seeded(seed, model.device):
        plain = GuidePosterior(model, values, Amortized(guide, samples=samples))
        weights = plain._log_weights
        better = RefinedPosterior(model, values, Refined(guide, steps=steps, samples=samples, particles=particles, lr=lr, seed=None))
    refined = better._log_weights
    evidence = _evidence(model, values, refined)
    return Gaps(evidence, refined.mean(0), _error(refined), weights.mean(0), _error(weights), _structure(guide))


def _evidence(model: Model, values: Mapping[str, Tensor], weights: Tensor) -> Score:
    try:
        return log_prob(model, values)
    except GraphError:                                                      # some latent cannot be eliminated; the data were checked before
        mean = weights.logsumexp(0) - math.log(len(weights))
        spread = ((2 * weights).logsumexp(0) - math.log(len(weights)) - 2 * mean).exp() - 1
        return Score(mean, "estimate", (spread.clamp_min(0) / len(weights)).sqrt(), f"{len(weights)} importance samples of refined guides")


def _structure(guide: Model) -> float | None:
    return guide.net.certificate().nats if isinstance(guide.net, RecognitionNet) else None


def _error(weights: Tensor) -> Tensor:
    return weights.std(0) / math.sqrt(len(weights))


def _mean_square(errors: Tensor) -> float:
    """The variance of a mean of independent numbers with these errors."""
    return float(errors.square().sum() / errors.numel() ** 2)
