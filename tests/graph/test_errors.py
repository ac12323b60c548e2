from dgm_ppl.graph import GraphError, did_you_mean


def test_a_near_miss_is_offered_and_else_the_names_that_exist():
    assert did_you_mean("vocabluary", ["age", "vocabulary"]) == "; did you mean 'vocabulary'?"
    assert did_you_mean("x", ["age"]) == "; known names: age"
    assert did_you_mean("x", []) == "; known names: none"


def test_a_long_list_of_names_is_cut_short():
    assert did_you_mean("x", [f"name{index}" for index in range(40)]).endswith("name11, ... (28 more)")


def test_graph_errors_are_value_errors():
    assert issubclass(GraphError, ValueError)
