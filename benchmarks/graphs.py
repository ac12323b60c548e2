"""Questions to large graphs beside networkx, pgmpy and pyAgrum: separation, the class, local statements, blankets.

    python benchmarks/graphs.py [--nodes 1000] [--rounds 9] [--json FILE]

Programs take turns on the same random graph (each node has up to three parents among the fifty before it). Answers are compared
before anything is timed. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import time
from collections.abc import Callable, Mapping
from functools import partial

import networkx as nx
from measure import environment, interleaved, ratios, table, write_json

import dgm_ppl as dgm
from dgm_ppl.graph import cpdag

OURS = "dgm_ppl"
Work = Callable[[], object]


def random_dag(nodes: int, seed: int = 0) -> dgm.DAG:
    """A sparse graph with long paths."""
    draw = random.Random(seed)
    names = [f"v{i}" for i in range(nodes)]
    edges = [(names[j], names[i]) for i in range(1, nodes) for j in draw.sample(range(max(0, i - 50), i), min(i, draw.randint(0, 3)))]
    return dgm.DAG(edges, nodes=names)


def questions(dag: dgm.DAG, count: int, seed: int = 1) -> list[tuple[str, str, list[str]]]:
    """Pairs of nodes with up to ten given ones."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        a, b, *given = draw.sample(dag.nodes, 2 + draw.randint(0, 10))
        found.append((a, b, given))
    return found


def peers(dag: dgm.DAG) -> Mapping[str, object]:
    """The graph in other programs."""
    found: dict[str, object] = {"networkx": dag.to_networkx()}
    if importlib.util.find_spec("pyagrum"):
        import pyagrum

        net = pyagrum.BayesNet()
        for node in dag:
            net.add(pyagrum.LabelizedVariable(node, node, 2))
        for edge in dag.edges:
            net.addArc(*edge)
        found["pyAgrum"] = net
    if importlib.util.find_spec("pgmpy"):
        from pgmpy.base import DAG

        graph = DAG()
        graph.add_nodes_from(dag.nodes)
        graph.add_edges_from(dag.edges)
        found["pgmpy"] = graph
    return found


def separation(dag: dgm.DAG, others: Mapping[str, object]) -> dict[str, Work]:
    """Fifty questions."""
    asked = questions(dag, 50)
    work: dict[str, Work] = {OURS: lambda: [dag.independent(a, b, given) for a, b, given in asked]}
    graph = others["networkx"]
    work["networkx"] = lambda: [nx.is_d_separator(graph, {a}, {b}, set(given)) for a, b, given in asked]
    if "pyAgrum" in others:
        work["pyAgrum"] = lambda: [others["pyAgrum"].isIndependent(a, b, given) for a, b, given in asked]
    if "pgmpy" in others:
        work["pgmpy"] = lambda: [not others["pgmpy"].is_dconnected(a, b, observed=given) for a, b, given in asked]
    return same(work)


def classes(dag: dgm.DAG, others: Mapping[str, object]) -> dict[str, Work]:
    """The class of equivalent graphs."""
    work: dict[str, Work] = {OURS: lambda: len(cpdag(dag).directed)}
    if "pyAgrum" in others:
        import pyagrum

        work["pyAgrum"] = lambda: len(pyagrum.EssentialGraph(others["pyAgrum"]).arcs())
    return same(work)


def local(dag: dgm.DAG, others: Mapping[str, object]) -> dict[str, Work]:
    """One statement for each node."""
    work: dict[str, Work] = {OURS: lambda: len(dag.independencies())}
    if "pgmpy" in others:
        work["pgmpy"] = lambda: sum(len(others["pgmpy"].local_independencies(node).independencies) for node in dag)
    return same(work)


def blankets(dag: dgm.DAG, others: Mapping[str, object]) -> dict[str, Work]:
    """The Markov blanket of every node."""
    work: dict[str, Work] = {OURS: lambda: [set(dag.markov_blanket(node)) for node in dag]}
    if "pgmpy" in others:
        work["pgmpy"] = lambda: [set(others["pgmpy"].get_markov_blanket(node)) for node in dag]
    return same(work)


def same(work: dict[str, Work]) -> dict[str, Work]:
    """The programs, once they have given the same answers."""
    answers = {name: one() for name, one in work.items()}
    odd = [name for name, answer in answers.items() if answer != answers[OURS]]
    if odd:
        raise SystemExit(f"{', '.join(odd)} and {OURS} answer differently")
    return work


def timed(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    dag = random_dag(options.nodes)
    others, about = peers(dag), environment(nodes=options.nodes, arrows=len(dag.edges), rounds=options.rounds)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    figures = {}
    for part in (separation, classes, local, blankets):
        timers = {name: partial(timed, work) for name, work in part(dag, others).items()}
        base = "networkx" if "networkx" in timers else OURS
        figures[part.__name__] = ratios(interleaved(timers, options.rounds), base)
        print(f"\n{part.__name__}: {part.__doc__}\n{table(figures[part.__name__])}", flush=True)
    write_json(options.json, {"environment": about, "figures": figures})


if __name__ == "__main__":
    main()
