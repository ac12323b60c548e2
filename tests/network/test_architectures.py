"""A kind of conditional of the user's own: declared, printed, compiled, saved like any other."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.conditionals import Parametric
from dgm_ppl.families import Architecture, Setting, Variable
from dgm_ppl.formats.declaration import describe, restore


@dataclass(frozen=True, repr=False)
class Rate(Setting):
    number: float = 1.0


@dataclass(frozen=True, repr=False)
class Wrapped(Architecture):
    """Another declaration's distribution, its open parameters by a network of its own."""

    base: Variable
    net: Any = None
    rates: tuple[Rate, ...] = ()
    structure: dgm.DAG | None = None

    @property
    def inner(self):
        return (self.base,)

    @property
    def net_label(self):
        return self.net.label()

    def space(self, variable):
        return self.base.space

    def check(self, name, variable, parents):
        if any(parent.space.cardinality is not None for parent in parents.values()):
            raise dgm.GraphError(f"node {name!r}: expected real parents; got {list(parents)}")

    def build(self, name, variable, ports, *, plates, all_plates, shared):
        return Parametric(name, replace(self.base, parents=variable.parents, net=self.net), ports, plates=plates, all_plates=all_plates, shared=shared)


def wrapped(base: Variable, **fields: Any) -> Variable:
    return Variable(Wrapped(base, **fields), base.shape, size=base.size, labels=base.labels)


def net_of() -> dgm.BayesNet:
    fields = {"net": dgm.MLP(4), "rates": (Rate(2.0), Rate(float("inf"))), "structure": dgm.DAG("a -> b")}
    return dgm.BayesNet(z=dgm.Normal(2), s=dgm.Gamma(3, concentration=1.0, rate=1.0), x=wrapped(dgm.Normal(3, scale="s"), **fields).given("z"))


def test_arrows_come_from_given_and_from_the_declaration_inside():
    net = net_of()
    assert set(net.dag.edges) == {("z", "x"), ("s", "x")}
    assert net["x"].parameter_edges == {"s": ("scale",)}
    assert repr(net).splitlines()[2] == (
        "x | z, s ~ Wrapped(base=Normal(3, scale=s), net=MLP(4), rates=(Rate(number=2.0), Rate(number=inf)), structure=DAG('a -> b'))"
    )


def test_it_compiles_to_what_it_wraps():
    net, plain = net_of(), dgm.BayesNet(z=dgm.Normal(2), s=dgm.Gamma(3, concentration=1.0, rate=1.0), x=dgm.Normal(3, scale="s").given("z", net=dgm.MLP(4)))
    model, twin = dgm.compile(net, seed=0), dgm.compile(plain, seed=0)
    values = model.sample(5)
    torch.testing.assert_close(model.log_prob(values), twin.log_prob(values))
    assert model.verify_structure().ok
    assert dgm.draw(net, guide=None).svg().count("MLP(4)") >= 1


def test_written_and_read(tmp_path):
    net = net_of()
    assert restore(json.loads(json.dumps(describe(net)))) == net
    model = dgm.compile(net, seed=0)
    dgm.save(model, tmp_path / "model.safetensors")
    loaded, values = dgm.load(tmp_path / "model.safetensors"), model.sample(5)
    assert loaded.net == net and torch.equal(loaded.log_prob(values), model.log_prob(values))


def test_a_file_of_an_unknown_kind():
    written = describe(net_of())
    written["nodes"]["x"]["family"] = "Wraped"
    with pytest.raises(dgm.GraphError, match=r"node 'x': no kind 'Wraped'.*Wrapped.*import the module that defines it first"):
        restore(written)
    written = describe(net_of())
    written["nodes"]["x"]["settings"]["bass"] = 1
    with pytest.raises(dgm.GraphError, match=r"node 'x' is damaged"):
        restore(written)


def test_what_is_wrong_inside_is_said_of_the_node():
    with pytest.raises(dgm.GraphError, match=r"node 'x': parameter 'scale' = -1.0 is outside its range"):
        dgm.BayesNet(x=wrapped(dgm.Normal(3, scale=-1.0)))
    with pytest.raises(dgm.GraphError, match=r"node 'x': no parent 't'"):
        dgm.BayesNet(x=wrapped(dgm.Normal(3, scale="t")))
    with pytest.raises(dgm.GraphError, match=r"node 'x': expected real parents; got \['c'\]"):
        dgm.BayesNet(c=dgm.Bernoulli(probs=0.5), x=wrapped(dgm.Normal(3), net=dgm.MLP(4)).given("c"))


def test_plain_source_says_what_it_cannot_write():
    net = dgm.BayesNet(z=dgm.Normal(2), x=wrapped(dgm.Normal(3), net=dgm.MLP(4)).given("z"))
    assert "pyro.sample" in dgm.to_pyro(net)                                 # it becomes a Parametric, which has a source
