"""The nets that the drawing tests draw."""

from dgm_ppl.families import Bernoulli, Categorical, Delta, Given, HalfCauchy, HalfNormal, LogNormal, Normal, refs
from dgm_ppl.graph import DAG
from dgm_ppl.nets import MLP
from dgm_ppl.network import BayesNet, Plate


vae = BayesNet(z=Normal(20, loc=0.0, scale=1.0), x=Bernoulli(1, 28, 28).given("z", net=MLP(400)))
vae_guide = BayesNet(x=Given(1, 28, 28), z=Normal(20).given("x", net=MLP(300)))

labelled = BayesNet(y=Categorical(10), z=Normal(20, loc=0.0, scale=1.0), x=Bernoulli(784).given("y", "z", net=MLP(500)))
labelled_guide = BayesNet(x=Given(784), y=Categorical(10).given("x", net=MLP(64)),
                     z=Normal(20).given("x", "y", net=MLP(32)))

schools = BayesNet(
    mu=Normal(loc=0.0, scale=5.0), tau=HalfCauchy(scale=5.0), theta=Normal(loc="mu", scale="tau"), sigma=Given(),
    y=Normal(loc="theta", scale="sigma"), plates={"school": Plate(["theta", "sigma", "y"], size=8)},
)
schools_guide = BayesNet(
    y=Given(), sigma=Given(), mu=Normal().given("y", "sigma", net=MLP(64)),
    tau=LogNormal().given("y", "sigma", "mu", net=MLP(64)),
    theta=Normal().given("y", "sigma", "mu", "tau", net=MLP(32)), plates={"school": ["theta", "sigma", "y"]},
)

a, b, t = refs("a b t")
line = BayesNet(a=Normal(loc=0.0, scale=1.0), b=Normal(loc=0.0, scale=1.0), t=Given(), m=Delta(v=a + b * t),
           y=Normal(loc="m", scale=0.1), plates={"point": ["t", "m", "y"]})

classes = BayesNet(
    mu=Normal(), a=Normal().given("mu"), w=Given(4), b=Normal().given("a"), y=Normal(3).given("b", "w", net=MLP(64)),
    plates={"class": Plate(["a", "b", "w", "y"], size=12), "pupil": ["b", "w", "y"]},
)

movies = BayesNet(
    s_u=HalfNormal(scale=1.0), s_v=HalfNormal(scale=1.0), s_r=HalfNormal(scale=1.0), u=Normal(8, loc=0.0, scale="s_u"),
    v=Normal(8, loc=0.0, scale="s_v"), r=Normal(scale="s_r").given("u", "v", net=MLP(64)),
    plates={"user": Plate(["u", "r"], size=943), "movie": Plate(["v", "r"], size=1682)},
)

triangle = BayesNet(
    a=Normal(), b=Normal(), c=Normal(), ab=Normal().given("a", "b"), bc=Normal().given("b", "c"),
    ca=Normal().given("c", "a"), plates={"A": ["a", "ab", "ca"], "B": ["b", "ab", "bc"], "C": ["c", "bc", "ca"]},
)

sprinkler = DAG("cloudy -> {sprinkler rain}; {sprinkler rain} -> wet; rain -> slippery")

ODD_NAMES = ('a "quoted" name', "<b>&amp;</b>", "back\\slash\\N", "θ₁", "変数", "naïve:port", "graph", "two words",
             "\\", "{x|y}", "n1", "1", "-->", "*/ //", "</svg>", "]]>", "`${x}`")
odd = DAG(list(zip(ODD_NAMES, ODD_NAMES[1:])))
