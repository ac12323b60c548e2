"""`dgm-ppl draw`: the picture of a net or graph, with everything that `dgm.draw` can put on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import click

from ..drawing import draw, draw_difference, draw_steps
from ..graph import cpdag, invert
from ..queries import Posterior, posterior
from .command import command
from .targets import dag_of, declared, find, model_of
from .values import assignments, labelled, names_or_values

__all__ = ["draw_command"]

FORMATS = "where to write it; the suffix says how: .svg .png .pdf .html .dot .tex .mmd"


@command("draw")
@click.argument("target")
@click.option("-o", "--output", type=click.Path(dir_okay=False), default="net.svg", show_default=True, help=FORMATS)
@click.option("--guide", metavar="TARGET", help="a guide for it, drawn dashed")
@click.option("--apart", is_flag=True, help="the guide beside the model, not over it")
@click.option("--observed", multiple=True, metavar="NODE", help="shade a node; may be repeated, as may --evidence, --do and --size")
@click.option("--evidence", multiple=True, metavar="NODE[=VALUE]", help="shade a node and write its value on it")
@click.option("--do", "actions", multiple=True, metavar="NODE[=VALUE]", help="set a node from outside: its arrows are cut")
@click.option("--posterior", "marginals", is_flag=True, help="exact marginals given the evidence, as bars in the nodes")
@click.option("--color-by", metavar="FILE.json", type=click.File(), help="a JSON object with a number for each node, shown as colour")
@click.option("--size", "sizes", multiple=True, metavar="PLATE=N", help="the size of a plate that the net leaves open")
@click.option("--collapse", type=click.IntRange(2), help="draw communities as one node each, about so many in all")
@click.option("--compare", metavar="TARGET", help="another graph instead: what it adds, removes and turns")
@click.option("--steps", is_flag=True, help="an elimination step by step instead; with --observed the graph turned round for these")
@click.option("--class", "whole_class", is_flag=True, help="the class of equivalent graphs instead, with lines where they differ")
def draw_command(
    target: str, output: str, guide: str | None, apart: bool, observed: tuple[str, ...], evidence: tuple[str, ...], actions: tuple[str, ...],
    marginals: bool, color_by: IO[str] | None, sizes: tuple[str, ...], collapse: int | None, compare: str | None, steps: bool, whole_class: bool,
) -> None:
    """Draw a net or graph in plate notation."""
    found = find(target)
    seen = names_or_values(evidence, "--evidence")
    if compare is not None:
        picture = draw_difference(dag_of(found), dag_of(find(compare)))
    elif steps:
        picture = draw_steps(invert(dag_of(found), observed) if observed else dag_of(found))
    else:
        picture = draw(
            cpdag(dag_of(found)) if whole_class else declared(found), guide=None if guide is None else declared(find(guide)),
            observed=observed, evidence=seen, do=names_or_values(actions, "--do"),
            posterior=_answer(found, seen) if marginals else None,
            color_by=None if color_by is None else json.load(color_by), sizes=assignments(sizes, "--size"), collapse=collapse,
            apart=apart,
        )
    click.echo(f"wrote {picture.save(output)}")


def _answer(found: Any, evidence: tuple[str, ...] | Mapping[str, Any]) -> Posterior:
    """The exact posterior of what is not observed."""
    if not isinstance(evidence, Mapping) and evidence:
        raise click.ClickException(f"--posterior: expected values of the evidence; got names alone; try --evidence {evidence[0]}=VALUE")
    return posterior(model_of(found, "draw marginals of"), labelled(declared(found), dict(evidence)))
