"""`dgm-ppl info` and `dgm-ppl verify`: what a net declares, what it costs, and whether it does what it declares."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..graph import DAG
from ..graph.treewidth import treewidth
from ..network import BayesNet, RecognitionNet, SequenceGuide
from .command import command
from .targets import declared, find, model_of

__all__ = ["info_command", "verify_command"]

MANY = 30


@command("info")
@click.argument("target")
@click.option("--all", "everything", is_flag=True, help=f"list every node and statement, however many; else up to {MANY}")
def info_command(target: str, everything: bool) -> None:
    """Print a net: its nodes, what each costs in parameters, its treewidth, and what its graph asserts."""
    net = declared(find(target))
    dag = net if isinstance(net, DAG) else net.dag
    limit = len(dag) ** 2 if everything else MANY
    if isinstance(net, BayesNet):
        click.echo("\n".join(_shortened(str(net).splitlines(), limit)))
        click.echo("\n" + "\n".join(_shortened(net.check().splitlines(), limit)))
        click.echo("\nparameters: " + str(net.num_parameters()).splitlines()[-1])
    parents = max((len(dag.parents(node)) for node in dag), default=0)
    click.echo(f"{len(dag)} nodes, {len(dag.edges)} arrows, at most {parents} parents, treewidth at most {treewidth(dag)}")
    click.echo("\n" + "\n".join(_asserted(net, dag, limit)))


@command("verify")
@click.argument("target")
def verify_command(target: str) -> None:
    """Hold the compiled networks against the graph: does each conditional depend on its parents alone?"""
    report = model_of(find(target), "verify").verify_structure()
    click.echo(str(report))
    if not report.ok:
        raise click.exceptions.Exit(1)


def _asserted(net: BayesNet | DAG, dag: DAG, limit: int) -> list[str]:
    if isinstance(net, (RecognitionNet, SequenceGuide)):
        return [f"certificate: {net.certificate()}"]
    statements = [f"  {statement}" for statement in dag.independencies()]
    return ["independencies (local Markov):", *_shortened(statements, limit)] if statements else ["no independencies"]


def _shortened(lines: Sequence[str], limit: int) -> list[str]:
    return list(lines) if len(lines) <= limit + 1 else [*lines[:limit], f"... ({len(lines) - limit} more; --all)"]
