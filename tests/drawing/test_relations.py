"""What a graph says: nodes, dependences, plates, and what is known."""

import pytest

from dgm_ppl.drawing.relations import Dependence, relate
from dgm_ppl.families import Bernoulli, Categorical, Normal
from dgm_ppl.graph import DAG, GraphError
from dgm_ppl.network import BayesNet

from . import nets


def test_a_network_that_reads_several_parents_is_one_dependence():
    assert Dependence(("y", "z"), "x", "MLP(500)") in relate(nets.labelled).dependences


def test_a_parameter_labels_its_arrow():
    assert set(relate(nets.schools).dependences) == {
        Dependence(("mu",), "theta", "loc"), Dependence(("tau",), "theta", "scale"),
        Dependence(("theta",), "y", "loc"), Dependence(("sigma",), "y", "scale"),
    }


def test_networks_and_parameters_enter_the_same_child():
    found = [d for d in relate(nets.movies).dependences if d.child == "r"]
    assert found == [Dependence(("u", "v"), "r", "MLP(64)"), Dependence(("s_r",), "r", "scale")]


def test_a_deterministic_node_needs_no_parameter_names():
    node = next(node for node in relate(nets.line).nodes if node.name == "m")
    assert node.deterministic
    assert {d.label for d in relate(nets.line).dependences if d.child == "m"} == {""}


@pytest.mark.parametrize("name, expected", [("z", "Normal(20)"), ("x", "Bernoulli(1, 28, 28)")])
def test_a_distribution_is_its_family_and_event_shape(name, expected):
    assert {node.name: node.distribution for node in relate(nets.vae).nodes}[name] == expected


def test_what_the_guide_takes_as_given_is_observed_and_its_arrows_follow_the_models():
    relations = relate(nets.vae, guide=nets.vae_guide)
    assert {node.name: node.observed for node in relations.nodes} == {"z": False, "x": True}
    assert relations.dependences[-1] == Dependence(("x",), "z", "MLP(300)", guide=True)


def test_inputs_of_the_model_are_given_rather_than_observed():
    sigma = next(node for node in relate(nets.schools, guide=nets.schools_guide).nodes if node.name == "sigma")
    assert sigma.given and not sigma.observed


def test_sizes_fill_in_what_plates_leave_open():
    (plate,) = relate(nets.line, sizes={"point": 20}).plates
    assert (plate.name, plate.size, set(plate.members)) == ("point", 20, {"t", "m", "y"})


@pytest.mark.parametrize("arguments, message", [
    ({"observed": "rian"}, r"draw: observed: .*got 'rian'; did you mean 'rain'\?"),
    ({"observed": ["wet", 3]}, r"draw: observed: expected a name"),
    ({"guide": nets.vae_guide}, r"draw: guide: expected a node of the graph; got 'x'"),
])
def test_names_that_the_graph_lacks(arguments, message):
    with pytest.raises(GraphError, match=message):
        relate(nets.sprinkler, **arguments)


def test_sizes_of_plates_that_the_net_lacks():
    with pytest.raises(GraphError, match=r"draw: sizes: expected a plate of the net; got 'shcool'; did you mean 'school'\?"):
        relate(nets.schools, sizes={"shcool": 8})


def test_a_dag_has_no_plates_to_size():
    with pytest.raises(GraphError, match=r"draw: sizes: expected a plate of the net; got 'school'; known names: none"):
        relate(nets.sprinkler, sizes={"school": 8})


def test_a_guide_may_be_structure_alone():
    assert relate(nets.vae, guide=DAG("x -> z")).dependences[-1] == Dependence(("x",), "z", guide=True)


@pytest.mark.parametrize("arguments", [("vae",), (nets.vae, "guide")])
def test_what_is_no_graph(arguments):
    graph, *guide = arguments
    with pytest.raises(TypeError, match=r"draw: expected a DAG, a BayesNet, a compiled model or a MixedGraph; got str; try draw"):
        relate(graph, guide=guide[0] if guide else None)


def test_tables_have_a_line_for_each_configuration():
    net = BayesNet(rain=Categorical(["no", "yes"], probs=[0.8, 0.2]), wet=Bernoulli(probs=[0.1, 0.9]).given("rain"))
    assert [node.table for node in relate(net).nodes] == [("0.8, 0.2",), ("rain=no: 0.9, 0.1", "rain=yes: 0.1, 0.9")]


def test_long_tables_are_cut_short():
    net = BayesNet(a=Categorical(30), b=Bernoulli(probs=[0.5] * 30).given("a"))
    assert relate(net).nodes[1].table[-1] == "… 14 more rows"


def test_learned_tables_and_numbers_have_no_lines():
    net = BayesNet(a=Bernoulli(), b=Normal(scale=1.0).given("a"), c=Bernoulli(2, probs=0.5))
    assert not any(node.table for node in relate(net).nodes)
