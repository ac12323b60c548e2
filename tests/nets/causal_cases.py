"""The table of networks over an event that every contract test runs on: builder, event, shapes of the encoded parents."""

from torch import nn

from dgm_ppl.nets import FVSBN, MADE
from dgm_ppl.nets.causal import Event

__all__ = ["CAUSAL"]

BITS, CODES, PAIRS = Event((5,)), Event((2, 3), outputs=4, states=4), Event((4,), width=2, outputs=3)
GRAPH = ((), (0,), (0,), (1, 2), (), (4, 3))

CAUSAL = {
    "fvsbn": (FVSBN(), BITS, ()),
    "fvsbn in another order": (FVSBN(), Event((4,), orders=((2, 0, 3, 1),)), ((2,),)),
    "made": (MADE(9, 7), BITS, ((), (2, 2))),
    "made, fewer units than elements": (MADE(3), Event((8,)), ()),
    "made of codes": (MADE(9, activation=nn.Tanh), CODES, ((3,),)),
    "made of pairs in another order": (MADE(6, 8), Event((4,), width=2, outputs=3, orders=((1, 3, 0, 2),)), ()),
    "made over a graph": (MADE(12, 12), Event((6,), parents=GRAPH), ((2,),)),
    "made over a graph, few units": (MADE(2, 2), Event((2, 3), outputs=2, states=3, parents=GRAPH), ()),
}
