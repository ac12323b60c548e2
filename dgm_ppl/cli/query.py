"""`dgm-ppl query`: an independence with its reason, or posterior marginals."""

from __future__ import annotations

import re

import click
from torch import Tensor

from ..graph import DAG, Independence, explain
from ..network import BayesNet
from ..queries import Posterior, posterior
from .command import command
from .targets import dag_of, declared, find, model_of
from .values import assignments, labelled

__all__ = ["query_command"]

STATEMENT = re.compile(r"_\|\|_|⊥|⫫")


@command("query")
@click.argument("target")
@click.argument("question")
@click.option("--paths", type=click.IntRange(1), default=10, show_default=True, help="how many blocked paths to show at most")
def query_command(target: str, question: str, paths: int) -> None:
    """Ask whether two sets of nodes are independent, and why; or for marginals given evidence, exactly.

    \b
    QUESTION is "a, b _||_ c | d e", or "a, b | d=yes, e=2".
    """
    found = find(target)
    if STATEMENT.search(question):
        asked = Independence.parse(question)
        click.echo(str(explain(dag_of(found), *map(sorted, (asked.left, asked.right, asked.given)), limit=paths)))
        return
    wanted, _, given = question.partition("|")
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if isinstance(found, DAG):
        raise click.ClickException('a DAG has no probabilities; ask for an independence, "a _||_ b | c"')
    net = declared(found)
    evidence = labelled(net, assignments(filter(str.strip, given.split(",")), "evidence"))
    answer = posterior(model_of(found, "ask"), evidence)
    for name in names:
        click.echo(_told(net, answer, name))


def _told(net: BayesNet, answer: Posterior, name: str) -> str:
    if net[name].space.cardinality is None or net[name].shape:
        marginal = answer.marginal(name)
        return f"{name}: mean {_numbers(marginal.mean)}, standard deviation {_numbers(marginal.stddev)}"
    if name not in answer.names:
        answer.marginal(name)                                               # raises, and says which names there are
    probabilities = answer.mean()[name].tolist()
    labels = net[name].labels or range(len(probabilities))
    return f"{name}: " + ", ".join(f"{label} {probability:.4g}" for label, probability in zip(labels, probabilities))


def _numbers(value: Tensor) -> str:
    return f"{value.item():.4g}" if value.ndim == 0 else f"[{', '.join(map(_numbers, value))}]"
