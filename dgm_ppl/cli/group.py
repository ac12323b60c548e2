"""The group that every command belongs to, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

__all__ = ["command", "main"]

TARGET = """TARGET is FILE.py:NAME, a net, DAG or compiled model that a Python file defines (the file is run); a network in a file
that dgm.read reads (.bif, .xmlbif, .xdsl, .uai, .net, .json, .dot, each also with .gz); a model.safetensors that dgm.save
wrote; or a graph as text, "a -> b; b -> c"."""


class Ordered(click.Group):
    """Commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Ordered, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dgm-ppl")
def main() -> None:
    """Look at Bayesian networks, ask them, hold them against data and sample from them.

    \b
    dgm-ppl draw model.py:net -o net.svg                its picture
    dgm-ppl draw model.py:net --guide model.py:q        with the guide's arrows dashed over it
    dgm-ppl info alarm.bif                              nodes, parameters, treewidth, independencies
    dgm-ppl query "a -> b -> c" "a _||_ c | b"          whether and why
    dgm-ppl query alarm.bif "CVP | HRBP=HIGH, CO=LOW"   posterior marginals, exactly
    dgm-ppl test alarm.bif rows.csv                     every independence it states, tested
    dgm-ppl verify model.py:net                         the networks held against the graph
    dgm-ppl sample model.safetensors -n 5               five worlds drawn from a trained model
    dgm-ppl convert alarm.bif alarm.xdsl                from one format to another
    """


def command(name: str) -> Callable[[Callable], Callable]:
    """A command whose help says what TARGET is, and whose user errors take one line."""

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except (ValueError, TypeError, OSError) as error:
                raise click.ClickException(str(error)) from error

        run.__doc__ = f"{function.__doc__}\n\n{TARGET}"
        return click.command(name)(run)

    return decorate
