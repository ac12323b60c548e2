"""The command line: `dgm-ppl draw | info | query | test | verify | sample | convert`."""

from .program import main

__all__ = ["main"]
