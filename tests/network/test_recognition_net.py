"""A guide is a Bayesian network: a frozen value that is read, changed, copied and certified as one."""

import copy
import pickle

import pytest

import dgm_ppl as dgm
from dgm_ppl.network import RecognitionNet

MODEL = dgm.BayesNet(z=dgm.Normal(2), w=dgm.Normal().given("z"), x=dgm.Normal(3).given("z", net=dgm.MLP(4)))
GUIDE = dgm.amortize(MODEL, observed="x", net=dgm.MLP(4))


def test_names_what_it_is_given_and_what_it_takes_from_the_model():
    assert GUIDE.observed == ("x",) and GUIDE.own == ("w",) and GUIDE.model is MODEL
    assert "z" in str(GUIDE.certificate())


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), lambda net: net.replace()], ids=["deepcopy", "pickle", "replace"])
def test_copies_are_guides(twin):
    again = twin(GUIDE)
    assert isinstance(again, RecognitionNet) and again == GUIDE and again.model == MODEL and str(again.certificate()) == str(GUIDE.certificate())


def test_other_guides_of_the_same_model():
    wider = GUIDE.replace(z=dgm.Normal(2).given("x", net=dgm.MLP(64)))
    assert isinstance(wider, RecognitionNet) and wider.model is MODEL and wider != GUIDE
    assert isinstance(GUIDE.add(aux=dgm.Normal().given("x")), RecognitionNet)
    assert isinstance(GUIDE.remove("w"), RecognitionNet)
    assert dgm.compile(GUIDE.remove("w")).is_guide


def test_is_frozen():
    with pytest.raises(AttributeError, match="a net is frozen"):
        GUIDE.model = None
