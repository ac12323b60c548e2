"""The command line: `dgm-ppl draw | info | query | test | verify | sample | convert`."""

from .convert import convert_command
from .draw import draw_command
from .group import main
from .info import info_command, verify_command
from .query import query_command
from .sample import sample_command
from .test import test_command

__all__ = ["main"]

for _command in (draw_command, info_command, query_command, test_command, verify_command, sample_command, convert_command):
    main.add_command(_command)
