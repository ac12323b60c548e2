"""What a guide's structure costs: the gap between the posterior and the best guide, in nats, on linear-Gaussian models with random weights.

For each graph and structure, `E KL(p(z | x) || q(z | x))` of the best linear Gaussian guide in closed form, the mean over draws of the weights; for the faithful
structure the largest gap as well. Edge flip turns the model's arrows round (children become parents, in reverse order); Pyro's dependencies are
`pyro.infer.inspect.get_dependencies(...)["posterior_dependencies"]` of the same net's Pyro program, read as a directed guide in the model's order, with every observed node
given to every latent.

    python benchmarks/twin_gaps.py --draws 200 [--json FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from random import Random

import numpy
import torch
from measure import environment, write_json
from pyro.infer.inspect import get_dependencies

import dgm_ppl as dgm
from dgm_ppl.graph import DAG
from dgm_ppl.graph.structures import Faithful, Forward, MeanField, Structure
from dgm_ppl.graph.twin import covariance


def tree(depth: int) -> tuple[DAG, tuple[str, ...]]:
    dag = DAG([(f"n{parent}", f"n{2 * parent + more}") for parent in range(1, 2 ** (depth - 1)) for more in (0, 1)])
    return dag, dag.leaves


def chain(steps: int) -> tuple[DAG, tuple[str, ...]]:
    edges = [(f"z{t}", f"z{t + 1}") for t in range(1, steps)] + [(f"z{t}", f"x{t}") for t in range(1, steps + 1)]
    return DAG(edges), tuple(f"x{t}" for t in range(1, steps + 1))


def grid(side: int) -> tuple[DAG, tuple[str, ...]]:
    cells = [(i, j) for i in range(side) for j in range(side)]
    edges = [(f"z{i}{j}", f"z{i + a}{j + b}") for i, j in cells for a, b in ((0, 1), (1, 0)) if i + a < side and j + b < side]
    return DAG(edges + [(f"z{i}{j}", f"x{i}{j}") for i, j in cells]), tuple(f"x{i}{j}" for i, j in cells)


def colliders(causes: int, effects: int, seed: int = 0) -> tuple[DAG, tuple[str, ...]]:
    random = Random(seed)
    edges = [(cause, f"x{i}") for i in range(effects) for cause in random.sample([f"z{j}" for j in range(causes)], 2)]
    return DAG(edges, nodes=[*(f"z{j}" for j in range(causes)), *(f"x{i}" for i in range(effects))]), tuple(f"x{i}" for i in range(effects))


def scattered(nodes: int, seed: int) -> tuple[DAG, tuple[str, ...]]:
    random = Random(seed)
    names = [f"v{i}" for i in range(nodes)]
    edges = [(names[i], names[j]) for j in range(nodes) for i in range(j) if random.random() < 0.35]
    dag = DAG(edges, nodes=names)
    latent = [name for name in names if dag.children(name)]
    return dag, tuple(name for name in names if name not in latent or random.random() < 0.3)


GRAPHS = {
    "tree of depth 3": [tree(3)], "tree of depth 5": [tree(5)], "chain of 8 steps": [chain(8)], "grid of 3 x 3": [grid(3)], "colliders, 4 to 6": [colliders(4, 6)],
    "colliders in a ring of 4": [(DAG([(f"z{(i + j) % 4}", f"x{i}") for i in range(4) for j in (0, 1)]), ("x0", "x1", "x2", "x3"))],
    "random, 10 nodes (20 of them)": [scattered(10, seed) for seed in range(20)],
}

Parents = Mapping[str, tuple[str, ...]]


def derived(structure: Structure, dag: DAG, observed: tuple[str, ...]) -> Parents:
    return structure.of(dag, observed).parents


def flipped(dag: DAG, observed: tuple[str, ...]) -> Parents:
    return {node: tuple(dag.children(node)) for node in reversed(dag.order) if node not in observed}


def of_pyro(dag: DAG, observed: tuple[str, ...]) -> Parents:
    """Each latent's upstream latents after conditioning, as Pyro finds them, and every observed node."""
    net = dgm.BayesNet({
        node: dgm.Normal(loc=sum((dgm.refs(parent) for parent in dag.parents(node)[1:]), start=dgm.refs(dag.parents(node)[0])) if dag.parents(node) else 0.0, scale=1.0)
        for node in dag.order
    })
    model = dgm.compile(net)
    found = get_dependencies(model, ({name: torch.zeros(()) for name in observed},))["posterior_dependencies"]
    order = [node for node in dag.order if node not in observed]
    place = {node: index for index, node in enumerate(order)}
    upstream = {node: {one for one in found.get(node, {}) if one in place and place[one] < place[node]} for node in order}
    for node in order:                                                      # a dependence may be listed under either end
        for one in found.get(node, {}):
            if one in place and place[one] > place[node]:
                upstream[one].add(node)
    return {node: (*observed, *sorted(upstream[node], key=place.__getitem__)) for node in order}


STRUCTURES = {
    "faithful": lambda *graph: derived(Faithful(), *graph), "forward": lambda *graph: derived(Forward(), *graph), "mean-field": lambda *graph: derived(MeanField(), *graph),
    "edge flip": flipped, "Pyro's dependencies": of_pyro,
}


def gap(joint: numpy.ndarray, place: Mapping[str, int], observed: tuple[str, ...], parents: Parents) -> float:
    """E KL(p(latents | observed) || best linear Gaussian guide with these parents)."""
    volume = lambda nodes, given: numpy.linalg.slogdet(_conditional(joint, [place[n] for n in nodes], [place[n] for n in given]))[1]  # noqa: E731
    return (sum(volume([node], given) for node, given in parents.items()) - volume(list(parents), list(observed))) / 2


def _conditional(joint: numpy.ndarray, nodes: list[int], given: list[int]) -> numpy.ndarray:
    among = joint[numpy.ix_(nodes, nodes)]
    if given:
        across = joint[numpy.ix_(nodes, given)]
        among = among - across @ numpy.linalg.solve(joint[numpy.ix_(given, given)], across.T)
    return among


def gaps_of(graphs: list, draws: int, seed: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in STRUCTURES}
    for dag, observed in graphs:
        place, random = {node: index for index, node in enumerate(dag)}, Random(seed)
        parents = {name: structure(dag, observed) for name, structure in STRUCTURES.items()}
        for _ in range(max(1, draws // len(graphs))):
            joint = numpy.array(covariance(dag, random))
            for name in STRUCTURES:
                found[name].append(gap(joint, place, observed, parents[name]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    asked = parser.parse_args()
    report = {"environment": environment(seed=asked.seed, draws=asked.draws), "rows": []}
    print(f"{'mean gap in nats':32}" + "".join(f"{name:>21}" for name in STRUCTURES) + f"{'faithful, largest':>21}")
    for name, graphs in GRAPHS.items():
        found = gaps_of(graphs, asked.draws, asked.seed)
        largest = max(map(abs, found["faithful"]))
        report["rows"].append({"graph": name, **{key: float(numpy.mean(values)) for key, values in found.items()}, "largest": largest})
        print(f"{name:32}" + "".join(f"{max(0.0, numpy.mean(values)):21.4f}" for values in found.values()) + f"{largest:21.1e}", flush=True)
    write_json(asked.json, report)


if __name__ == "__main__":
    main()
