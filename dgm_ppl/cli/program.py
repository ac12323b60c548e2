"""The program `dgm-ppl`: its commands in order, and what its help says."""

from __future__ import annotations

import click

from .convert import convert_command
from .draw import draw_command
from .info import info_command, verify_command
from .query import query_command
from .sample import sample_command
from .test import test_command

__all__ = ["main"]

COMMANDS = (draw_command, info_command, query_command, test_command, verify_command, sample_command, convert_command)


class Ordered(click.Group):
    """Commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Ordered, commands=list(COMMANDS), context_settings={"help_option_names": ["-h", "--help"]})
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
