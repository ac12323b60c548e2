"""The table of networks over an event that every contract test runs on: builder, event, shapes of the encoded parents."""

from torch import nn

from dgm_ppl.nets import FVSBN, MADE, NADE, PixelCNN, PixelSNAIL, Recurrent, Transformer, WaveNet
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
    "nade": (NADE(5), BITS, ((2,),)),
    "nade of codes in another order": (NADE(5), Event((4,), outputs=3, states=3, orders=((2, 0, 3, 1),)), ()),
    "nade over a graph": (NADE(5), Event((6,), width=2, parents=GRAPH), ()),
    "lstm": (Recurrent(6, layers=2), CODES, ((3,), ())),
    "gru of numbers in another order": (Recurrent(6, cell=nn.GRU), Event((4,), width=2, outputs=3, orders=((1, 3, 0, 2),)), ()),
    "gru of groups": (Recurrent(6, cell=nn.GRU, grouped=True), Event((4, 2), outputs=3, states=3), ((2,),)),
    "transformer": (Transformer(8, layers=2, heads=2), CODES, ()),
    "transformer in another order, of a vector": (Transformer(8, layers=2, heads=2), Event((4,), width=2, outputs=3, orders=((1, 3, 0, 2),)), ((2,), ())),
    "transformer of sequences": (Transformer(8, layers=2, heads=2, encoder=1), CODES, ((5, 3), (2,), (2, 3, 3))),
    "transformer of groups": (Transformer(8, layers=1, heads=2, grouped=True), Event((3, 2, 2)), ((4, 2),)),
    "wavenet": (WaveNet(4, skip=5, layers=2, cycles=2), Event((9,), outputs=3, states=3), ((2,),)),
    "wavenet of three taps": (WaveNet(4, skip=5, layers=2, cycles=1, kernel=3), Event((9,), width=2), ()),
    "wavenet of groups": (WaveNet(4, skip=5, layers=3, cycles=1, grouped=True), Event((5, 2)), ((2, 2),)),
    "pixelcnn": (PixelCNN(4, layers=3, first=3), Event((1, 5, 4)), ((2,), (2, 5, 4))),
    "pixelcnn of colours": (PixelCNN(24, layers=2, first=3), Event((3, 3, 4), outputs=2), ()),
    "pixelcnn of colour codes": (PixelCNN(24, layers=2, first=5), Event((3, 3, 2), outputs=3, states=3), ((),)),
    "pixelcnn, out of reach": (PixelCNN(3, layers=2, first=3), Event((1, 6, 6)), ()),
    "pixelcnn of masks": (PixelCNN(4, layers=3, first=3, gated=False), Event((1, 5, 6)), ((2,), (2, 5, 6))),
    "pixelcnn of masks, colours": (PixelCNN(16, layers=2, first=5, gated=False), Event((2, 3, 4), outputs=3, states=3), ((3,),)),
    "pixelsnail": (PixelSNAIL(4, layers=2, heads=2, first=3), Event((1, 5, 4)), ((2,),)),
    "pixelsnail of colours": (PixelSNAIL(24, layers=2, heads=3, every=1, first=3), Event((3, 2, 3), outputs=3, states=3), ()),
}
