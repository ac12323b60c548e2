import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, GraphError, explain, open_path

from .graphs import dags

STUDENT = DAG("difficulty -> grade <- intelligence -> score; grade -> letter")


def test_a_fork_and_a_chain_are_blocked_where_they_are_given():
    assert str(STUDENT.explain("grade", "score", given="intelligence")).splitlines()[1] == \
        "  grade <- intelligence -> score: blocked at intelligence, a fork whose middle is given"
    assert str(STUDENT.explain("letter", "intelligence", given="grade")).splitlines() == [
        "letter and intelligence are independent given grade",
        "  letter <- grade <- intelligence: blocked at grade, a chain whose middle is given"]


def test_a_collider_is_open_where_it_or_a_descendant_is_given():
    assert "open, the collider grade is given" in str(STUDENT.explain("difficulty", "score", given="grade"))
    assert "open, the collider grade has the given descendant letter" in \
        str(STUDENT.explain("difficulty", "score", given="letter"))
    assert "blocked at the collider grade, since neither it nor a descendant is given" in \
        str(STUDENT.explain("difficulty", "score"))


def test_an_arrow_is_a_path():
    assert str(STUDENT.explain("grade", "letter")) == "grade and letter are dependent\n  grade -> letter: open"


def test_no_path_at_all():
    assert str(DAG("a, b").explain("a", "b")) == "a and b are independent\n  no path joins them"


def test_sets_are_explained_pair_by_pair():
    explanation = DAG("{a b} -> m -> {c d}").explain(["a", "b"], ["c", "d"], given="m")
    assert explanation.independent and len(explanation.paths) == 4
    assert str(explanation).startswith("{a, b} and {c, d} are independent given m")


def test_paths_left_out_are_counted():
    wide = DAG([("a", f"m{index}") for index in range(15)] + [("b", f"m{index}") for index in range(15)])
    assert str(wide.explain("a", "b")).endswith("  (5 more, all blocked)")
    assert explain(wide, "a", "b", limit=2).left_out == 13
    many = DAG([(side, f"m{index}") for index in range(120) for side in "ab"])
    assert str(explain(many, "a", "b", limit=3)).endswith("  (at least 100 more, all blocked)")


def test_questions_are_checked():
    with pytest.raises(GraphError, match="explain: expected a node of the graph; got 'garde'; did you mean 'grade'?"):
        STUDENT.explain("garde", "score")
    with pytest.raises(GraphError, match="explain: .* got 'grade' in both a and given"):
        STUDENT.explain("grade", "score", given="grade")


@given(dags(), st.data())
@settings(deadline=None)
def test_an_explanation_agrees_with_separation_and_its_path_is_one(dag, data):
    groups = data.draw(st.permutations(dag.nodes))
    a, b, conditions = set(groups[:1]), set(groups[1:3]), set(groups[3:data.draw(st.integers(3, len(groups)))])
    explanation = explain(dag, a, b, conditions)
    assert explanation.independent == dag.independent(a, b, conditions)
    path = open_path(dag, a, b, conditions)
    assert (path is None) == explanation.independent
    for path in explanation.paths:
        assert len(set(path.nodes)) == len(path.nodes) and path.nodes[0] in a and path.nodes[-1] in b
        opened = {*conditions, *dag.ancestors(*conditions)}
        blockers = [node for node, before, after in zip(path.nodes[1:], path.arrows, path.arrows[1:])
                    if (node not in opened if (before, after) == ("->", "<-") else node in conditions)]
        assert path.blocker == next(iter(blockers), None)
        assert all((b, a) in dag.edges if arrow == "<-" else (a, b) in dag.edges
                   for a, arrow, b in zip(path.nodes, path.arrows, path.nodes[1:]))
