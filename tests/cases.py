"""Tables of cases: a new family or conditional adds a line and inherits every contract test."""

from __future__ import annotations

from dataclasses import dataclass

import pyro.distributions as dist
import torch
from torch import Tensor, nn

import dgm_ppl as dgm

__all__ = ["CONDITIONALS", "FAMILIES", "TESTED_APART", "USERS", "Conditioned", "Rows", "Squared", "pooled", "shifted"]

USERS = {  # families that a user adds, by name: on the line, on an interval, on vectors
    "MyGumbel": dgm.family(dist.Gumbel, name="MyGumbel"),
    "Kumaraswamy": dgm.family(dist.Kumaraswamy),
    "MultivariateStudentT": dgm.family(dist.MultivariateStudentT),
}

TESTED_APART = {  # families of ours that Pyro has no class for: tests/families/test_levels_and_relaxed.py
    "DiscretizedLogistic", "DiscretizedLogisticMixture", "OneHotCategorical", "RelaxedBernoulli", "RelaxedCategorical", "StraightThroughCategorical",
}

FAMILIES = {  # every parameter fixed, each row of the catalogue in every parameterization
    "normal": dgm.Normal(loc=0.3, scale=1.7),
    "normal array": dgm.Normal(2, loc=[0.3, -1.0], scale=[0.2, 3.0]),
    "log-normal": dgm.LogNormal(loc=0.2, scale=0.6),
    "laplace": dgm.Laplace(loc=-0.4, scale=0.8),
    "student t": dgm.StudentT(df=3.5, loc=0.5, scale=1.2),
    "cauchy": dgm.Cauchy(loc=0.2, scale=0.7),
    "logistic": dgm.Logistic(loc=0.1, scale=0.6),
    "gumbel": dgm.Gumbel(loc=0.4, scale=1.1),
    "half-normal": dgm.HalfNormal(scale=1.3),
    "half-cauchy": dgm.HalfCauchy(scale=0.9),
    "exponential": dgm.Exponential(rate=0.7),
    "gamma": dgm.Gamma(concentration=2.3, rate=1.4),
    "inverse gamma": dgm.InverseGamma(concentration=3.0, rate=2.0),
    "weibull": dgm.Weibull(scale=1.2, concentration=1.8),
    "beta": dgm.Beta(concentration1=2.5, concentration0=1.5),
    "uniform": dgm.Uniform(low=-1.0, high=2.5),
    "von mises": dgm.VonMises(loc=0.7, concentration=2.0),
    "dirichlet": dgm.Dirichlet(3, concentration=[2.0, 3.0, 1.5]),
    "normal of full covariance": dgm.MultivariateNormal(2, loc=[0.5, -0.5], covariance_matrix=[[1.0, 0.6], [0.6, 2.0]]),
    "normal of full precision": dgm.MultivariateNormal(2, loc=[0.5, -0.5], precision_matrix=[[1.0, 0.3], [0.3, 2.0]]),
    "normal of full root": dgm.MultivariateNormal(2, loc=0.0, scale_tril=[[1.0, 0.0], [0.6, 0.8]]),
    "normal of low rank": dgm.MultivariateNormal(2, rank=1, loc=[0.5, -0.5], cov_factor=[[1.0], [0.7]], cov_diag=[0.3, 0.5]),
    "bernoulli logits": dgm.Bernoulli(logits=-0.8),
    "bernoulli probs": dgm.Bernoulli(probs=0.3),
    "binomial logits": dgm.Binomial(total_count=7, logits=0.4),
    "binomial probs": dgm.Binomial(total_count=7, probs=0.4),
    "categorical logits": dgm.Categorical(4, logits=[0.1, -1.0, 0.7, 0.0]),
    "categorical probs": dgm.Categorical(["a", "b", "c"], probs=[0.2, 0.5, 0.3]),
    "ordered logistic": dgm.OrderedLogistic(4, predictor=0.3, cutpoints=[-1.0, 0.2, 1.5]),
    "poisson": dgm.Poisson(rate=3.2),
    "negative binomial logits": dgm.NegativeBinomial(total_count=4.5, logits=-0.3),
    "negative binomial probs": dgm.NegativeBinomial(total_count=4.5, probs=0.4),
    "zero-inflated poisson": dgm.ZeroInflatedPoisson(rate=2.5, gate=0.3),
    "zero-inflated poisson logits": dgm.ZeroInflatedPoisson(rate=2.5, gate_logits=-1.0),
    "logit-normal": dgm.LogitNormal(loc=0.3, scale=0.9),
    "logit-normal between bounds": dgm.LogitNormal(loc=0.3, scale=0.9, low=-1.0, high=2.0),
    "delta": dgm.Delta(v=1.5),
    "a user's": USERS["MyGumbel"](loc=0.4, scale=1.1),
    "a user's of an interval": USERS["Kumaraswamy"](concentration1=2.0, concentration0=1.5),
    "a user's of vectors": USERS["MultivariateStudentT"](2, df=5.0, loc=[0.5, -0.5], scale_tril=[[1.0, 0.0], [0.6, 0.8]]),
}


class Rows(nn.Module):
    """A module that wants each parent in its own shape: a vector of 2 and an image of 1 x 4 x 4; three outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.vector, self.image = nn.Linear(2, 3), nn.Linear(16, 3)

    def forward(self, vector: Tensor, image: Tensor) -> Tensor:
        return self.vector(vector) + self.image(image.flatten(1))


@dataclass(frozen=True)
class Squared:
    """A function of one parent, and not a lambda: it can be pickled."""

    def __call__(self, z: Tensor) -> dict[str, Tensor]:
        return {"loc": z.square(), "scale": 1 + z.square()}


def shifted(z: Tensor) -> tuple[Tensor, float]:
    """Two parameters in order, one a number."""
    return z + 1, 0.5


def pooled(theta: Tensor) -> Tensor:
    """The mean over a plate that the child is not in."""
    return theta.mean(-1)


@dataclass(frozen=True)
class Conditioned:
    """A net and the node of it that is under test."""

    node: str
    net: dgm.BayesNet


def conditioned(node: str, plates: dict | None = None, **variables: dgm.Variable) -> Conditioned:
    return Conditioned(node, dgm.BayesNet(variables, plates=plates))


STANDARD = dgm.Normal(2, loc=0.0, scale=1.0)
IMAGE = dgm.Normal(1, 4, 4, loc=0.0, scale=1.0)
STATES = {"a": dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), "b": dgm.Bernoulli(probs=0.4)}
z, t, a = dgm.refs("z t a")
SHARED = dgm.MLP(4)

CONDITIONALS = {
    "root": conditioned("x", x=dgm.Normal(2)),
    "root, fixed": conditioned("x", x=dgm.Normal(2, loc=0.0, scale=2.0)),
    "table": conditioned("x", **STATES, x=dgm.Normal(2).given("a", "b")),
    "table of categoricals": conditioned("x", **STATES, x=dgm.Categorical(["u", "v"]).given("b", "a")),
    "table of covariances": conditioned("x", **STATES, x=dgm.MultivariateNormal(2).given("a")),
    "table of counts": conditioned("x", n=dgm.Binomial(total_count=3, probs=0.5), x=dgm.Poisson().given("n")),
    "table, fixed": conditioned("x", **STATES, x=dgm.Categorical(2, probs=[[[0.1, 0.9], [0.0, 1.0]], [[0.5, 0.5], [1.0, 0.0]], [[0.3, 0.7], [0.2, 0.8]]]).given("a", "b")),
    "table, part fixed": conditioned("x", **STATES, x=dgm.Normal(2, loc=[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]).given("a")),
    "linear": conditioned("x", z=STANDARD, w=dgm.Gamma(concentration=2.0, rate=1.0), x=dgm.Normal(3).given("z", "w")),
    "linear of a circle": conditioned("x", v=dgm.VonMises(loc=0.0, concentration=1.0), x=dgm.Normal().given("v")),
    "linear in the scale": conditioned("x", z=STANDARD, x=dgm.Normal(loc=0.0).given("z")),
    "linear, by states": conditioned("x", **STATES, z=STANDARD, x=dgm.Normal(2).given("a", "z", "b")),
    "linear, by states, one scale": conditioned("x", **STATES, z=STANDARD, x=dgm.Normal(2, scale=dgm.free(0.5)).given("a", "z")),
    "linear, states of a vector": conditioned("x", s=dgm.Categorical(3, 2, probs=[0.2, 0.3, 0.5]), x=dgm.Normal().given("s")),
    "linear, student t": conditioned("x", **STATES, z=STANDARD, x=dgm.StudentT().given("a", "z")),
    "mlp": conditioned("x", z=STANDARD, a=STATES["a"], x=dgm.Normal(3).given("z", "a", net=dgm.MLP(5))),
    "mlp, free scale": conditioned("x", z=STANDARD, x=dgm.Normal(3, scale=dgm.free(0.1)).given("z", net=dgm.MLP(5))),
    "mlp, many parameters": conditioned("x", z=STANDARD, x=dgm.MultivariateNormal(2, rank=1).given("z", net=dgm.MLP(5))),
    "mlp, shared": conditioned("x", z=STANDARD, y=dgm.Normal(2).given("z", net=SHARED), x=dgm.Normal(2).given("z", net=SHARED)),
    "convnet": conditioned("x", i=IMAGE, z=STANDARD, x=dgm.Normal(2).given("i", "z", net=dgm.ConvNet(3))),
    "transposed": conditioned("x", z=STANDARD, x=dgm.Bernoulli(1, 4, 4).given("z", net=dgm.ConvTransposeNet(3))),
    "resnet": conditioned("x", i=IMAGE, x=dgm.Normal(1, 4, 4).given("i", net=dgm.ResNet(4, blocks=1))),
    "module": conditioned("x", z=STANDARD, x=dgm.Normal(2).given("z", net=nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4)))),
    "module of shapes": conditioned("x", z=STANDARD, i=IMAGE, x=dgm.Normal(3, scale=1.0).given("z", "i", net=dgm.Shaped(Rows()))),
    "fn": conditioned("x", z=STANDARD, x=dgm.Normal(2, scale=1.0).given("z", fn=torch.sin)),
    "fn of a dict": conditioned("x", z=STANDARD, x=dgm.Normal(2).given("z", fn=Squared())),
    "fn of a tuple": conditioned("x", z=STANDARD, x=dgm.Normal(2).given("z", fn=shifted)),
    "name": conditioned("x", z=STANDARD, w=dgm.LogNormal(2, loc=0.0, scale=0.3), x=dgm.Normal(2, loc="z", scale="w")),
    "expression": conditioned("x", z=STANDARD, t=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(2, loc=z * t + [1.0, 2.0], scale=dgm.exp(t / 2))),
    "expression of other ranks": conditioned("x", z=STANDARD, t=dgm.Normal(3, 1, loc=0.0, scale=1.0), x=dgm.Normal(3, 2, loc=z - t, scale=1.0)),
    "expression, matmul": conditioned("x", z=STANDARD, x=dgm.Normal(3, loc=dgm.matmul([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]], z), scale=0.5)),
    "expression, index": conditioned("x", a=STATES["a"], m=dgm.Normal(3, 2, loc=0.0, scale=1.0), x=dgm.Normal(2, loc=dgm.Ref("m")[a], scale=dgm.Constant([1.0, 2.0, 3.0])[a])),
    "expression and net": conditioned("x", z=STANDARD, t=dgm.Normal(), x=dgm.Normal(2, scale=dgm.softplus(t)).given("z", net=dgm.MLP(4))),
    "deterministic": conditioned("x", z=STANDARD, x=dgm.Delta(2, v=2 * z)),
    "in a plate": conditioned(
        "x", z=STANDARD, t=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(2).given("z", "t", net=dgm.MLP(4)), plates={"p": dgm.Plate(["t", "x"], size=4)},
    ),
    "in crossed plates": conditioned(
        "x", z=dgm.Normal(loc=0.0, scale=1.0), t=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc=z + t, scale=1.0),
        plates={"p": dgm.Plate(["z", "x"], size=4), "q": dgm.Plate(["t", "x"], size=5)},
    ),
    "one value a member": conditioned("x", z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=[1.0, 2.0, 3.0]), plates={"p": ["x"]}),
    "above a plate, fn": conditioned("x", z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(scale=1.0).given("z", fn=pooled), plates={"p": dgm.Plate(["z"], size=4)}),
    "above a plate, expression": conditioned("x", z=STANDARD, x=dgm.Normal(2, loc=z[0] - z[3], scale=1.0), plates={"p": dgm.Plate(["z"], size=4)}),
    "above a plate, net": conditioned("x", z=STANDARD, x=dgm.Normal(2).given("z", net=dgm.MLP(4)), plates={"p": dgm.Plate(["z"], size=4)}),
    "across plates, index": conditioned(
        "x", g=dgm.Categorical(4, probs=[0.25] * 4), z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc=z[dgm.Ref("g")], scale=1.0),
        plates={"group": dgm.Plate(["z"], size=4), "point": dgm.Plate(["g", "x"], size=5)},
    ),
    "autoregressive": conditioned("x", x=dgm.Autoregressive(dgm.Bernoulli(5), net=dgm.MADE(7, 6))),
    "autoregressive, linear": conditioned("x", z=STANDARD, x=dgm.Autoregressive(dgm.Bernoulli(4), net=dgm.FVSBN(), order=(2, 0, 3, 1)).given("z")),
    "autoregressive of numbers": conditioned(
        "x", **STATES, z=STANDARD, x=dgm.Autoregressive(dgm.Normal(4, scale=dgm.free()), net=dgm.MADE(8), adjacency=dgm.DAG("0 -> 2, 1 -> 2 -> 3")).given("a", "z"),
    ),
    "autoregressive of states": conditioned(
        "x", z=STANDARD, t=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Autoregressive(dgm.Categorical(3, 2, 2), net=dgm.MADE(8)).given("z", "t"),
        plates={"p": dgm.Plate(["t", "x"], size=4)},
    ),
    "autoregressive, shared units": conditioned("x", **STATES, x=dgm.Autoregressive(dgm.Bernoulli(4), net=dgm.NADE(5)).given("a", "b")),
    "autoregressive, recurrent": conditioned("x", z=STANDARD, x=dgm.Autoregressive(dgm.Normal(4), net=dgm.Recurrent(6)).given("z")),
    "autoregressive, translated": conditioned(
        "x", z=STANDARD, s=dgm.Categorical(3, 4, probs=[0.2, 0.3, 0.5]),
        x=dgm.Autoregressive(dgm.Categorical(5, 3), net=dgm.Transformer(8, layers=1, heads=2, encoder=1)).given("s", "z"),
    ),
    "autoregressive, dilated": conditioned("x", a=STATES["a"], x=dgm.Autoregressive(dgm.Categorical(4, 6), net=dgm.WaveNet(6, layers=2, cycles=1)).given("a")),
    "autoregressive image": conditioned("x", i=IMAGE, z=STANDARD, x=dgm.Autoregressive(dgm.Bernoulli(1, 4, 4), net=dgm.PixelCNN(6, layers=2, first=3)).given("i", "z")),
    "autoregressive image, given a net": conditioned(
        "x", z=STANDARD, x=dgm.Autoregressive(dgm.Bernoulli(1, 4, 4), net=dgm.PixelCNN(4, layers=2, first=3, gated=False)).given("z", net=dgm.ConvTransposeNet(3)),
    ),
    "autoregressive image with attention": conditioned("x", z=STANDARD, x=dgm.Autoregressive(dgm.Categorical(3, 2, 3, 2), net=dgm.PixelSNAIL(4, layers=2, heads=2, first=3)).given("z")),
    "flow": conditioned("x", x=dgm.Flow(2, dgm.MAF(transforms=2, hidden=(8,)))),
    "flow in one order": conditioned("x", z=STANDARD, x=dgm.Flow(2, 2, dgm.MAF(transforms=1, hidden=(8,))).given("z")),
    "flow, given states": conditioned("x", **STATES, x=dgm.Flow(2, dgm.MAF(transforms=2, hidden=(8,))).given("a", "b")),
    "flow, given a net": conditioned("x", i=IMAGE, z=STANDARD, x=dgm.Flow(3, dgm.NSF(transforms=2, bins=4, hidden=(8,)), context=5).given("i", "z", net=dgm.ConvNet(3))),
    "flow of positive images": conditioned("x", z=STANDARD, x=dgm.Flow(1, 2, 2, dgm.RealNVP(transforms=2, hidden=(8,)), space=dgm.Positive()).given("z")),
    "flow, inverse": conditioned("x", z=STANDARD, x=dgm.Flow(2, dgm.IAF(transforms=2, hidden=(8,))).given("z")),
    "flow of one number in a plate": conditioned(
        "x", z=STANDARD, t=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Flow(dgm.NSF(transforms=1, hidden=(8,))).given("z", "t"), plates={"p": dgm.Plate(["t", "x"], size=4)},
    ),
    "flow above a plate": conditioned("x", z=STANDARD, x=dgm.Flow(2, dgm.NICE(transforms=2, hidden=(8,), additive=True)).given("z"), plates={"p": dgm.Plate(["z"], size=4)}),
    "mixture": conditioned("x", x=dgm.Mixture(dgm.Normal(2), components=3)),
    "mixture, table": conditioned("x", **STATES, x=dgm.Mixture(dgm.Normal(2, scale=[0.5, 1.0]), components=3).given("a", "b")),
    "mixture, linear": conditioned("x", z=STANDARD, a=STATES["a"], x=dgm.Mixture(dgm.Gamma(), components=2).given("z", "a")),
    "mixture, mlp": conditioned("x", z=STANDARD, x=dgm.Mixture(dgm.MultivariateNormal(2), components=2, weights=[0.3, 0.7]).given("z", net=dgm.MLP(4))),
    "mixture of elements": conditioned("x", z=STANDARD, x=dgm.Mixture(dgm.Bernoulli(1, 3), components=2, elementwise=True).given("z", net=dgm.MLP(4))),
    "mixture of expressions": conditioned("x", z=STANDARD, x=dgm.Mixture(dgm.Normal(loc=z[0] + [-1.0, 1.0], scale=0.5), components=2)),
    "mixture of states, in a plate": conditioned(
        "x", z=STANDARD, t=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Mixture(dgm.Categorical(3), components=2).given("z", "t"), plates={"p": dgm.Plate(["t", "x"], size=4)},
    ),
    "zero-inflated": conditioned("x", **STATES, x=dgm.ZeroInflated(dgm.NegativeBinomial(2, total_count=3.0)).given("a")),
    "hurdle": conditioned("x", z=STANDARD, x=dgm.Hurdle(dgm.Poisson(2)).given("z", net=dgm.MLP(4))),
    "hurdle, fixed gate": conditioned("x", z=STANDARD, x=dgm.Hurdle(dgm.NegativeBinomial(total_count=4.0), gate=0.2).given("z")),
    "flow of levels": conditioned("x", z=STANDARD, x=dgm.Flow(1, 2, 2, dgm.RealNVP(2, hidden=(8,)), levels=4).given("z")),
    "flow of counts": conditioned(
        "x", **STATES, x=dgm.Flow(2, dgm.MAF(2, hidden=(8,)), space=dgm.Counts(), dequantize=dgm.VariationalDequantization(dgm.IAF(1, hidden=(8,)), samples=2)).given("a"),
    ),
    "flow of images": conditioned("x", z=STANDARD, x=dgm.Flow(1, 4, 4, dgm.Glow(scales=2, steps=1, hidden=4)).given("z")),
    "flow of image levels": conditioned("x", a=STATES["a"], x=dgm.Flow(3, 4, 4, dgm.MultiscaleRealNVP(scales=1, steps=2, hidden=4), levels=8).given("a")),
    "levels": conditioned("x", z=STANDARD, x=dgm.DiscretizedLogisticMixture(1, 2, 2, components=2, levels=4).given("z", net=dgm.MLP(4))),
    "one-hot, straight through": conditioned("x", z=STANDARD, x=dgm.StraightThroughCategorical(3, temperature=0.5).given("z")),
    "colours": conditioned("x", z=STANDARD, x=dgm.ColourMixture(3, 2, 2, components=2, levels=4).given("z", net=dgm.MLP(4))),
    "autoregressive colours": conditioned("x", z=STANDARD, x=dgm.Autoregressive(dgm.ColourMixture(3, 2, 3, components=2, levels=4), net=dgm.PixelCNN(4, layers=2, first=3)).given("z")),
    "codes": conditioned("x", x=dgm.Codes(2, size=5, dim=3, prior=dgm.Categorical(5, 1, 2))),
    "codes, given states": conditioned("x", a=STATES["a"], x=dgm.Codes(2, 2, size=4, dim=3, prior=dgm.Autoregressive(dgm.Categorical(4, 2, 2), net=dgm.MADE(8))).given("a")),
    "codes in a plate": conditioned("x", t=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Codes(size=4, dim=3, prior=dgm.Categorical(4)).given("t"), plates={"p": dgm.Plate(["t", "x"], size=4)}),
    "gaussian process": conditioned("x", z=dgm.Normal(4, loc=0.0, scale=2.0), x=dgm.GaussianProcess(4, at="z", kernel=dgm.Matern(jitter=0.1), loc=dgm.free()), plates={"p": dgm.Plate(["x", "z"], size=3)}),
    "coarse sound": conditioned("x", z=dgm.Normal(4, 2, loc=0.0, scale=1.0), x=dgm.Normal(2, 2, scale=0.5).given("z", fn=dgm.Coarsen(2))),
    "sparse precision": conditioned("x", z=STANDARD, x=dgm.GaussianMRF(4, edges=[(0, 1), (1, 2), (1, 3)]).given("z", net=dgm.MLP(4))),
    "copula": conditioned("x", a=STATES["a"], x=dgm.GaussianCopula(dgm.Normal(), dgm.Exponential()).given("a")),
}
