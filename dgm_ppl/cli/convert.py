"""`dgm-ppl convert`: a network from one file format to another, or to Pyro source."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..formats import FormatError, read_document, to_pyro, write
from ..graph import DAG
from .command import command
from .targets import declared, find

__all__ = ["convert_command"]


@command("convert")
@click.argument("target")
@click.argument("output", type=click.Path(dir_okay=False))
def convert_command(target: str, output: str) -> None:
    """Write a network in another format: OUTPUT ends in .bif, .xmlbif, .xdsl, .uai, .net, .json, .dot or .mmd, or in .py for Pyro source."""
    if output.endswith(".py"):
        _write_source(target, output)
    else:
        write(_contents(target), output)
    click.echo(f"wrote {output}")


def _contents(target: str):
    """The network with its name and properties where the file has them."""
    if os.path.isfile(target) and not target.endswith((".py", ".safetensors")):
        return read_document(target)
    return declared(find(target))


def _write_source(target: str, output: str) -> None:
    found = find(target)
    if isinstance(found, DAG):
        raise FormatError("Pyro source: expected a net with distributions; got a graph alone; try a suffix such as .dot")
    Path(output).write_text(to_pyro(declared(found)))
