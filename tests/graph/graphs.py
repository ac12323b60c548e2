"""Random graphs for property tests, and slow but obvious answers to check the quick ones against."""

from itertools import chain, combinations, product

import networkx as nx
from hypothesis import strategies as st

from dgm_ppl.graph import DAG


@st.composite
def dags(draw, smallest=4, largest=10):
    """A random DAG whose declaration order is not its topological order."""
    size = draw(st.integers(smallest, largest))
    names = [f"v{index}" for index in range(size)]
    hidden = draw(st.permutations(names))
    density = draw(st.floats(0.15, 0.6))
    edges = [pair for pair in combinations(hidden, 2) if draw(st.floats(0, 1)) < density]
    return DAG(edges, nodes=names)


@st.composite
def problems(draw, smallest=4, largest=10):
    """A random DAG with some of its nodes, but not all, observed."""
    dag = draw(dags(smallest, largest))
    observed = draw(st.sets(st.sampled_from(dag.nodes), min_size=1, max_size=len(dag) - 1))
    return dag, tuple(node for node in dag if node in observed)


def subsets(names):
    names = tuple(names)
    return chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))


def small_dags(size):
    """Every DAG over `a`, `b`, ... with so many nodes."""
    names = "abcde"[:size]
    pairs = list(combinations(names, 2))
    for signs in product((None, 1, -1), repeat=len(pairs)):
        edges = [pair[::sign] for pair, sign in zip(pairs, signs) if sign]
        if nx.is_directed_acyclic_graph(nx.DiGraph(edges)):
            yield DAG(edges, nodes=tuple(names))


def connected(dag, a, b, given):
    """d-connection by its definition: some path has every collider open and no other node given."""
    graph = dag.to_networkx()
    opened = {*given, *dag.ancestors(*given)}
    for path in nx.all_simple_paths(graph.to_undirected(), a, b):
        if all((node in opened) if (before in graph.pred[node] and after in graph.pred[node]) else node not in given
               for before, node, after in zip(path, path[1:], path[2:])):
            return True
    return False
