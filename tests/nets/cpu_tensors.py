"""Which operations make a tensor on the CPU, where everything should be elsewhere."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["CpuTensors"]


class CpuTensors(TorchDispatchMode):
    """Lists the operations that return a tensor on the CPU."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu" for leaf in tree_leaves(out)):
            self.made.append(str(func))
        return out
