"""The nets that the drawing tests draw."""

from collections.abc import Mapping
from dataclasses import dataclass

from dgm_ppl.families import (Bernoulli, Categorical, Delta, Given, HalfCauchy, HalfNormal, LogNormal, Normal, Variable,
                              refs)
from dgm_ppl.graph import DAG


@dataclass(frozen=True)
class MLP:
    """A builder that has the label of the real one."""

    units: int

    def label(self) -> str:
        return f"MLP({self.units})"


@dataclass(frozen=True)
class Plate:
    name: str
    nodes: tuple[str, ...]
    size: int | None = None


class Net:
    """What drawing asks of a net."""

    def __init__(self, plates: Mapping[str, list[str]] = {}, sizes: Mapping[str, int] = {}, **variables: Variable) -> None:
        self.variables = variables
        edges = [(parent, name) for name, variable in variables.items() for parent in variable.all_parents]
        self.dag = DAG(edges, nodes=list(variables))
        self.plates = {name: Plate(name, tuple(nodes), sizes.get(name)) for name, nodes in plates.items()}

    def __getitem__(self, name: str) -> Variable:
        return self.variables[name]

    def plates_of(self, name: str) -> tuple[str, ...]:
        return tuple(plate.name for plate in self.plates.values() if name in plate.nodes)


vae = Net(z=Normal(20, loc=0.0, scale=1.0), x=Bernoulli(1, 28, 28).given("z", net=MLP(400)))
vae_guide = Net(x=Given(1, 28, 28), z=Normal(20).given("x", net=MLP(300)))

labelled = Net(y=Categorical(10), z=Normal(20, loc=0.0, scale=1.0), x=Bernoulli(784).given("y", "z", net=MLP(500)))
labelled_guide = Net(x=Given(784), y=Categorical(10).given("x", net=MLP(64)),
                     z=Normal(20).given("x", "y", net=MLP(32)))

schools = Net(
    mu=Normal(loc=0.0, scale=5.0), tau=HalfCauchy(scale=5.0), theta=Normal(loc="mu", scale="tau"), sigma=Given(),
    y=Normal(loc="theta", scale="sigma"), plates={"school": ["theta", "sigma", "y"]}, sizes={"school": 8},
)
schools_guide = Net(
    y=Given(), sigma=Given(), mu=Normal().given("y", "sigma", net=MLP(64)),
    tau=LogNormal().given("y", "sigma", "mu", net=MLP(64)),
    theta=Normal().given("y", "sigma", "mu", "tau", net=MLP(32)), plates={"school": ["theta", "sigma", "y"]},
)

a, b, t = refs("a b t")
line = Net(a=Normal(loc=0.0, scale=1.0), b=Normal(loc=0.0, scale=1.0), t=Given(), m=Delta(v=a + b * t),
           y=Normal(loc="m", scale=0.1), plates={"point": ["t", "m", "y"]})

classes = Net(
    mu=Normal(), a=Normal().given("mu"), w=Given(4), b=Normal().given("a"), y=Normal(3).given("b", "w", net=MLP(64)),
    plates={"class": ["a", "b", "w", "y"], "pupil": ["b", "w", "y"]}, sizes={"class": 12},
)

movies = Net(
    s_u=HalfNormal(scale=1.0), s_v=HalfNormal(scale=1.0), s_r=HalfNormal(scale=1.0), u=Normal(8, loc=0.0, scale="s_u"),
    v=Normal(8, loc=0.0, scale="s_v"), r=Normal(scale="s_r").given("u", "v", net=MLP(64)),
    plates={"user": ["u", "r"], "movie": ["v", "r"]}, sizes={"user": 943, "movie": 1682},
)

triangle = Net(
    a=Normal(), b=Normal(), c=Normal(), ab=Normal().given("a", "b"), bc=Normal().given("b", "c"),
    ca=Normal().given("c", "a"), plates={"A": ["a", "ab", "ca"], "B": ["b", "ab", "bc"], "C": ["c", "bc", "ca"]},
)

sprinkler = DAG("cloudy -> {sprinkler rain}; {sprinkler rain} -> wet; rain -> slippery")

ODD_NAMES = ('a "quoted" name', "<b>&amp;</b>", "back\\slash\\N", "θ₁", "変数", "naïve:port", "graph", "two words",
             "\\", "{x|y}", "n1", "1", "-->", "*/ //", "</svg>", "]]>", "`${x}`")
odd = DAG(list(zip(ODD_NAMES, ODD_NAMES[1:])))
