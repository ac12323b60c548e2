"""`dgm-ppl test`: a graph's independences held against a table of data."""

from __future__ import annotations

import click

from ..structure import KernelTest, PartialCorrelation, TableTest, benjamini_hochberg, holm, test_independences
from .command import command
from .targets import declared, find
from .values import read_table

__all__ = ["test_command"]

TESTS = {"tables": TableTest, "correlation": PartialCorrelation, "kernel": KernelTest}
CORRECTIONS = {"benjamini-hochberg": benjamini_hochberg, "holm": holm, "none": None}


@command("test")
@click.argument("target")
@click.argument("data", type=click.Path(exists=True, dir_okay=False))
@click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True)
@click.option("--statement", "statements", multiple=True, metavar="'A _||_ B | C'", help="test this one; may be repeated; without it, a basis of the graph's")
@click.option("--latent", multiple=True, metavar="NODE", help="a node that was not measured; may be repeated")
@click.option("--test", "kind", type=click.Choice(list(TESTS)), help="one test for all; without it each statement gets the one that suits its columns")
@click.option("--correction", type=click.Choice(list(CORRECTIONS)), default="benjamini-hochberg", show_default=True)
@click.option("--separator", help="between the cells of a line; without it a comma, or a tab in .tsv")
@click.option("--all", "everything", is_flag=True, help="print every statement, not the rejected ones alone")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="write every statement here as CSV")
@click.option("--plot", type=click.Path(dir_okay=False), help="write a picture of p-values and effects")
def test_command(
    target: str, data: str, level: float, statements: tuple[str, ...], latent: tuple[str, ...], kind: str | None, correction: str,
    separator: str | None, everything: bool, output: str | None, plot: str | None,
) -> None:
    """Test on the rows of a CSV file every independence that a graph states; DATA has a column for each node."""
    graph = declared(find(target))
    found = test_independences(
        graph, read_table(data, graph, separator), level=level, statements=statements or None, latent=latent,
        test=None if kind is None else TESTS[kind](), correction=CORRECTIONS[correction],
    )
    click.echo(str(found))
    if everything:
        click.echo("\n" + found.frame.to_string(index=False, float_format="{:.3g}".format))
    if output is not None:
        found.frame.to_csv(output, index=False)
        click.echo(f"wrote {output}")
    if plot is not None:
        found.plot(plot)
        click.echo(f"wrote {plot}")


test_command.__test__ = False                   # pytest would take it for a test where it is imported
