"""The nets whose written source must be the same model."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import nn

import dgm_ppl as dgm
from dgm_ppl import (
    MLP, BayesNet, Bernoulli, Beta, Binomial, Categorical, Constant, ConvNet, ConvTransposeNet, Delta, Dirichlet, Exponential, Flat, Gamma, Given,
    HalfCauchy, HalfNormal, Interval, LogitNormal, LogNormal, MultivariateNormal, NegativeBinomial, Normal, OrderedLogistic, Plate, Poisson, Positive,
    ResNet, Shaped, Uniform, VonMises, ZeroInflatedPoisson, refs,
)

__all__ = ["CASES", "GUIDES", "SIZED_BY_DATA", "USER_CODE"]

a, b, k, m, t, w, z = refs("a b k m t w z")
OPEN = "Normal LogNormal Laplace StudentT Cauchy Logistic Gumbel HalfNormal HalfCauchy Exponential Gamma InverseGamma Weibull Beta VonMises Bernoulli".split()
OPEN += "Poisson NegativeBinomial ZeroInflatedPoisson LogitNormal".split()


def of_family(declare) -> BayesNet:
    """A family with learned parameters, a table, a linear predictor, one a state, and a network."""
    return BayesNet(
        k=Categorical(3), s=Bernoulli(), r=Normal(2, loc=0.0, scale=1.0), learned=declare(), table=declare().given("k", "s"), linear=declare().given("r"),
        by_state=declare().given("k", "r"), net=declare().given("r", "learned", "k", net=MLP(4)),
    )


FAMILIES = {name: of_family(lambda name=name: getattr(dgm, name)(3)) for name in OPEN} | {
    "scalars": of_family(lambda: Normal()),
    "Binomial": of_family(lambda: Binomial(3, total_count=4)),
    "Categorical": of_family(lambda: Categorical(4, 3)),
    "OrderedLogistic": of_family(lambda: OrderedLogistic(4, 3)),
    "Dirichlet": of_family(lambda: Dirichlet(2, 3)),
    "MultivariateNormal": of_family(lambda: MultivariateNormal(3)),
    "LowRank": of_family(lambda: MultivariateNormal(2, 3, rank=2)),
    "bounded LogitNormal": of_family(lambda: LogitNormal(3, low=-1.0, high=2.0)),
    "Delta": BayesNet(z=Normal(2, loc=0.0, scale=1.0), v=Delta(3).given("z", net=MLP(4)), l=Delta().given("z"), x=Normal(3, loc="v", scale=1.0)),
    "Uniform": BayesNet(r=Normal(), x=Uniform(3, low=0.0, high=1.0), y=Uniform(low=-1.0, high=dgm.exp(dgm.Ref("r"))), z=Normal(loc="y", scale=1.0)),
    "other parameters": BayesNet(
        b=Bernoulli(3, probs=dgm.free(0.3)), n=Binomial(total_count=5, probs=0.25), d=NegativeBinomial(total_count=3.0, probs=dgm.free()),
        i=ZeroInflatedPoisson(rate=2.0, gate=0.5), o=OrderedLogistic(3, predictor=0.5, cutpoints=[-1.0, 1.0]), c=Categorical(3, probs=dgm.free([0.2, 0.3, 0.5])),
        v=MultivariateNormal(2, loc=0.0, covariance_matrix=[[2.0, 0.5], [0.5, 1.0]]), u=MultivariateNormal(2, loc=[1.0, 0.0], precision_matrix=dgm.free()),
        e=MultivariateNormal(2, loc=0.0, scale_tril=[[1.0, 0.0], [0.0, 1.0]]), f=Normal(3, loc=dgm.free([1.0, 2.0, 3.0]), scale=dgm.free(0.1)),
    ),
}

NETWORKS = {
    "vae": BayesNet(z=Normal(20, loc=0.0, scale=1.0), x=Bernoulli(1, 28, 28).given("z", net=MLP(40))),
    "deep vae": BayesNet(z=Normal(4, loc=0.0, scale=1.0), x=Normal(2, 3).given("z", net=MLP(8, 6, activation=nn.Tanh, dropout=0.2, norm=True))),
    "linear net": BayesNet(z=Normal(loc=0.0, scale=1.0), x=Normal(3, scale=0.5).given("z", net=MLP())),
    "conv decoder": BayesNet(z=Normal(5, loc=0.0, scale=1.0), y=Categorical(3), x=Normal(2, 7, 5).given("z", "y", net=ConvTransposeNet(8, 4, hidden=(6,), kernel=5))),
    "conv decoder of a scalar": BayesNet(z=Normal(loc=0.0, scale=1.0), x=Bernoulli(1, 6, 6).given("z", net=ConvTransposeNet(4))),
    "conv encoder": BayesNet(x=Given(1, 9, 6), y=Categorical(4).given("x", net=ConvNet(4, 8))),
    "conv encoder with others": BayesNet(x=Given(1, 9, 6), c=Given(states=3), u=Given(2, 9, 6), y=Normal(2).given("x", "c", "u", net=ConvNet(4, hidden=(6,)))),
    "resnet image to vector": BayesNet(x=Given(1, 9, 6), y=Normal(2).given("x", net=ResNet(4, 8, blocks=1, activation=nn.ELU))),
    "resnet image and vector": BayesNet(x=Given(1, 9, 6), v=Given(3), y=Normal(2).given("x", "v", net=ResNet(4, blocks=1))),
    "resnet to image": BayesNet(z=Normal(3, loc=0.0, scale=1.0), c=Categorical(2), x=Normal(1, 6, 5).given("z", "c", net=ResNet(4, blocks=1))),
    "resnet image to image": BayesNet(x=Given(1, 6, 5), y=Normal(2, 6, 5).given("x", net=ResNet(4, blocks=1))),
    "resnet image to image with others": BayesNet(x=Given(1, 6, 5), t=Given(), y=Normal(1, 6, 5, scale=1.0).given("x", "t", net=ResNet(4, blocks=1))),
    "resnet vector to vector": BayesNet(z=Normal(3, loc=0.0, scale=1.0), x=Normal(4).given("z", net=ResNet(5, 6, blocks=1, activation=nn.SiLU))),
}
shared = MLP(4)
NETWORKS["shared net"] = BayesNet(z=Normal(2, loc=0.0, scale=1.0), w=Normal(2, loc=0.0, scale=1.0), x=Normal(3).given("z", net=shared), y=Normal(3).given("w", net=shared))
NETWORKS["encodings"] = BayesNet(
    p=Gamma(concentration=2.0, rate=1.0), q=Exponential(2, rate=1.0), n=Poisson(rate=3.0), c=VonMises(2, loc=0.0, concentration=1.0), u=Beta(concentration1=2.0, concentration0=3.0),
    s=Dirichlet(3, concentration=1.0), o=Categorical(4, 2), b=Bernoulli(3), i=Uniform(low=-1.0, high=3.0), h=Uniform(low=-2.0, high=2.0), g=Given(space=Interval(2.0, 3.0)),
    d=Given(2, space=Positive()), x=Normal(2).given("p", "q", "n", "c", "u", "s", "o", "b", "i", "h", "g", "d", net=MLP(4)), y=Normal().given("c", "i", "n"),
)

STRUCTURES = {
    "tables": BayesNet(
        season=Categorical(["dry", "wet"], probs=[0.3, 0.7]), rain=Bernoulli().given("season"), sprinkler=Bernoulli(probs=[0.2, 0.9]).given("season"),
        wet=Bernoulli(probs=[[0.0, 0.9], [0.8, 1.0]]).given("rain", "sprinkler"), depth=Normal(2, loc=[[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]).given("rain", "season"),
        mud=Categorical(3, probs=[[0.0, 0.5, 0.5], [0.25, 0.5, 0.25]]).given("wet"), n=Binomial(total_count=2, probs=0.5), f=Normal().given("n"),
    ),
    "linear": BayesNet(k=Categorical(3), b=Bernoulli(), x=Normal(2), y=Normal(3).given("x", "k", "b"), v=Normal(2, 2).given("x", "y"), e=Normal(scale=[1.0, 2.0, 3.0]).given("k", "x")),
    "eight schools": BayesNet(
        mu=Normal(loc=0.0, scale=5.0), tau=HalfCauchy(scale=5.0), theta=Normal(loc="mu", scale="tau"), sigma=Given(), y=Normal(loc="theta", scale="sigma"),
        plates={"school": ["theta", "sigma", "y"]},
    ),
    "fixed in plates": BayesNet(
        a=Normal(loc=[1.0, 2.0], scale=1.0), y=Normal(3, loc=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], scale=[0.5, 1.0, 2.0]), x=Normal(loc="a", scale=0.1),
        plates={"group": Plate(["a", "y", "x"], size=2), "member": Plate(["x"], size=3)},
    ),
    "crossed": BayesNet(
        u=Normal(4, loc=0.0, scale=1.0), v=Normal(4, loc=0.0, scale=1.0), bias=Normal(), r=Normal(scale=0.5).given("u", "v", "bias", net=MLP(6)), s=Normal(loc=refs("u") @ refs("v"), scale=1.0),
        plates={"user": Plate(["u", "r", "s"], size=3), "movie": Plate(["v", "r", "s"], size=2)},
    ),
    "nested": BayesNet(
        mu=Normal(), a=Normal(2).given("mu"), w=Given(3), c=Categorical(2), y=Normal(2).given("a", "w", "c", net=MLP(4)), n=Normal(loc=dgm.Constant([0.0, 1.0])[dgm.Ref("c")], scale=1.0),
        plates={"class": Plate(["a", "w", "y", "c", "n"], size=2), "pupil": ["w", "y", "n"]},
    ),
    "pooled": BayesNet(
        y=Normal(2, loc=0.0, scale=1.0), g=Normal(), mu=Normal().given("y", "g", net=MLP(4)), nu=Normal(3, loc=refs("g")[0], scale=1.0), s=Normal().given("y"),
        plates={"school": Plate(["y", "g"], size=3), "other": Plate(["mu", "y"], size=2)},
    ),
    "mixture": BayesNet(
        weights=Dirichlet(3, concentration=[1.0, 1.0, 1.0]), means=Normal(3, 2, loc=0.0, scale=5.0), k=Categorical(3, probs="weights"), x=Normal(2, loc=refs("means")[k], scale=1.0),
        plates={"point": Plate(["k", "x"], size=4)},
    ),
    "expressions": BayesNet(
        a=Normal(loc=0.0, scale=1.0), b=Normal(3, loc=0.0, scale=1.0), k=Categorical(3), j=Categorical(2, 4), w=Normal(3, 2, loc=0.0, scale=1.0), t=Given(2),
        powers=Normal(3, loc=(-a) ** 2 - dgm.exp(a) ** 2 ** b + (dgm.exp(a) ** 0.5) ** 2 + (b - (1 - a)) / -2.0, scale=dgm.softplus(b) + dgm.exp(-1.0) + dgm.sigmoid(2.0)), m=Delta(v=b @ b),
        products=Normal(2, loc=b @ w + (w @ t)[0] * Constant([1.0, -1.0]), scale=dgm.exp(a * 0.1)), picked=Normal(loc=b[k] + b[-1] * w[0, 1] + w[k, 0], scale=1.0),
        events=Normal(4, loc=Constant([0.5, -0.5])[refs("j")] + t[refs("j")], scale=1.0), table=Normal(2, loc=Constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])[k], scale="s"),
        s=HalfNormal(scale=1.0), wide=Normal(2, 3, loc="b", scale=[[1.0], [2.0]]), narrow=Normal(5, loc="a", scale=1.0), full=Normal(2, 2, loc=(w @ Constant([[1.0, 0.0], [2.0, 1.0]]))[0], scale=1.0),
        logs=LogNormal(loc=dgm.log(refs("s")), scale=dgm.log(3.0)), line=Normal(loc="m", scale=0.1), every=Delta(3, v="a"), p=Bernoulli(probs=dgm.sigmoid(a)), fixed=Delta(2, v=dgm.exp(2.0)),
    ),
    "do": BayesNet(
        a=Normal(), k=Categorical(3, 2), b=Normal(2, loc="a", scale=1.0), c=Normal().given("k", "b", net=MLP(3)), plates={"p": Plate(["c", "b"], size=2)},
    ).do(a=2.0, k=[1, 0], b=[[1.0, 2.0], [3.0, 4.0]]),
    "odd names": BayesNet(
        {"two words": Normal(loc=0.0, scale=1.0), "data": Normal().given("two words"), "class": Normal().given("data", net=MLP(3)), "β": Normal(loc="class", scale=1.0),
         "loc": Normal().given("β", net=MLP(2)), "line\nbreak)": Categorical(["a\nb", "c"]), '"""\\': Normal().given("loc", net=MLP(2)), "self": Normal(loc='"""\\', scale=1.0), "torch": Normal(2, loc="self", scale=1.0),
         "h": Normal().given("loc", "torch", net=MLP(2))},
        plates={"with": Plate(["β", "self"], size=2), "two  words": ["self", "torch"]} | {"two  words": Plate(["self", "torch"], size=3)},
    ),
    "no parameters": BayesNet(x=Normal(loc=0.0, scale=1.0), y=Normal(2, loc="x", scale=1.0)),
    "large arrays": BayesNet(x=Normal(40, loc=torch.linspace(-1, 1, 40), scale=1.0), y=Normal(3, 20, loc=torch.arange(60.0).reshape(3, 20), scale=0.5)),
}


class Pair(nn.Module):
    """A module of the user's own: two parents in their shapes, a dict of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.vector = nn.Linear(12, 3), nn.Linear(2, 3)

    def forward(self, image, vector):
        found = self.image(image.flatten(1)) + self.vector(vector)
        return {"loc": found, "scale": found.tanh()}


MINE = dgm.family(type("Mine", (dist.Gumbel,), {}))
USER_CODE = {
    "module": BayesNet(z=Normal(4, loc=0.0, scale=1.0), y=Categorical(2), x=Normal(3).given("z", "y", net=nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6)))),
    "flat": BayesNet(z=Normal(4, loc=0.0, scale=1.0), x=Normal(2, 3, scale=1.0).given("z", net=Flat(nn.Linear(4, 6)))),
    "shaped": BayesNet(u=Given(1, 4, 3), z=Normal(2, loc=0.0, scale=1.0), x=Normal(3).given("u", "z", net=Shaped(Pair()))),
    "function": BayesNet(
        z=Normal(loc=0.0, scale=1.0), y=Normal(3).given("z", fn=lambda z: (z.unsqueeze(-1), 2.0)), x=Normal(scale=0.5).given("z", fn=lambda z: z.exp()),
        v=Delta(2).given("z", fn=lambda z: {"v": z.unsqueeze(-1)}), s=Normal(loc=refs("v")[0], scale=1.0),
    ),
    "module as a function": BayesNet(z=Normal(4, loc=0.0, scale=1.0), x=Normal(2, scale=1.0).given("z", fn=nn.Linear(4, 2))),
    "distribution": BayesNet(z=Normal(loc=0.0, scale=1.0), x=MINE(3, loc=0.0).given("z", net=MLP(4)), y=MINE(loc=0.0, scale=2.0)),
}

SIZED_BY_DATA = BayesNet(mu=Normal(loc=0.0, scale=1.0), x=Normal(2, loc=0.0, scale=1.0), y=Normal(loc="mu", scale=1.0), plates={"given": Plate(["x"], size=2), "here": ["x", "y"]})
CASES = {f"{name} family": net for name, net in FAMILIES.items()} | NETWORKS | STRUCTURES | USER_CODE
GUIDES = {
    "vae": (NETWORKS["vae"], "x"),
    "conv": (NETWORKS["conv decoder"], ["x", "y"]),
    "states": (BayesNet(z=Normal(2), y=Categorical(3), x=Normal(4).given("z", "y", net=MLP(5)), top=Normal(2, loc="z", scale=1.0)), "x"),
    "left to the model": (BayesNet(z=Normal(2), x=Normal(4).given("z", net=MLP(5)), d=Delta(v=refs("z")[0]), extra=Normal().given("d"), top=Normal(loc="d", scale=1.0), tip=Normal(loc="extra", scale=1.0)), "x"),
    "families": (BayesNet(g=Gamma(), b=Beta(2), k=Bernoulli(), n=Binomial(total_count=3), d=Dirichlet(3), x=Normal().given("g", "b", "k", "n", "d", net=MLP(4))), "x"),
}
