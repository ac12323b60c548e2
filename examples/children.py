"""Height, vocabulary and age: a graph stated, drawn, held against data, and learned back.

    python examples/children.py                         # children that the script makes up
    python examples/children.py --data howell.csv       # measured: columns age, height, weight (Howell's !Kung San census)
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import pandas
import torch

import dgm_ppl as dgm

made = dgm.DAG("age -> height, age -> vocabulary")
measured = dgm.DAG("age -> height -> weight")


def children(rows: int, seed: int = 0) -> pandas.DataFrame:
    """Children of 5 to 15 years: height in cm, vocabulary in thousands of words."""
    random = torch.Generator().manual_seed(seed)
    age = 5 + 10 * torch.rand(rows, generator=random)
    height = 80 + 6 * age + 6 * torch.randn(rows, generator=random)
    vocabulary = 20 / (1 + torch.exp(-(age - 8) / 2)) + 1.5 * torch.randn(rows, generator=random)
    return pandas.DataFrame({"age": age, "height": height, "vocabulary": vocabulary})


def census(path: str) -> pandas.DataFrame:
    """Everybody under 18 in a table of people."""
    people = pandas.read_parquet(path) if path.endswith(".parquet") else pandas.read_csv(path)
    return people.loc[people["age"] < 18, ["age", "height", "weight"]].astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a table of people, .csv or .parquet")
    parser.add_argument("--rows", type=int, default=500, help="how many children to make up")
    parser.add_argument("--out", default="out/children")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    dag, data = (made, children(options.rows)) if options.data is None else (measured, census(options.data))
    (statement,) = dgm.testable(dag)
    print(dag.explain(statement.left, statement.right, given=statement.given), "\n")
    dgm.draw(dag).save(out / "graph.svg")

    print(f"{len(data)} children, the graph {dag!r}: {dgm.test_independences(dag, data)}")
    left, right = statement.left, statement.right
    wrong = dgm.DAG([edge for edge in dag.edges if edge != dag.edges[0]], nodes=dag.nodes)
    found = dgm.test_independences(wrong, data)
    print(f"the graph {wrong!r}: {found}")
    found.plot(out / "wrong.png")
    print(f"correlation of {min(left)} and {min(right)}: {data[min(left)].corr(data[min(right)]):.2f}")

    if find_spec("causallearn"):                                            # pip install 'dgm-ppl[structure]'
        learned = dgm.learn_structure(data)
        print(f"learned, lines may be turned either way:\n{learned}")
        dgm.draw(learned).save(out / "learned.svg")


if __name__ == "__main__":
    main()
