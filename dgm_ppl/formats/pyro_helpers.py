"""Functions and classes that a written program may need, as source; each is written where it is used and nowhere else."""

__all__ = ["HELPERS", "IMPORTS", "STANDARD"]

STANDARD = ("contextlib", "math")
IMPORTS = {
    "contextlib": "import contextlib",
    "math": "import math",
    "pyro": "import pyro",
    "dist": "import pyro.distributions as dist",
    "torch": "import torch",
    "constraints": "from pyro.distributions import constraints",
    "config_enumerate": "from pyro.infer import config_enumerate",
    "Vindex": "from pyro.ops.indexing import Vindex",
    "nn": "from torch import nn",
    "transform_to": "from torch.distributions import transform_to",
    "functional": "from torch.nn import functional",
}

HELPERS = {
    "Residual": '''
class Residual(nn.Module):
    """x + branch(x)."""

    def __init__(self, *branch):
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x):
        return x + self.branch(x)
''',
    "ExactBernoulli": '''
class ExactBernoulli(dist.Bernoulli):
    """Bernoulli whose density is exact where probs is 0 or 1 (torch clamps probs)."""

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return torch.where(value.bool(), self.probs, 1 - self.probs).log()
''',
    "logit_normal": '''
def logit_normal(loc, scale, low=0.0, high=1.0):
    """x between two bounds, whose log-odds within them are normal."""
    bounds = dist.transforms.AffineTransform(low, high - low)
    to_unit = dist.transforms.SigmoidTransform()
    return dist.TransformedDistribution(dist.Normal(loc, scale), [to_unit, bounds])
''',
    "spread": '''
def spread(distribution, *event):
    """The distribution over a whole event, where its parameters are smaller."""
    batch = torch.broadcast_shapes(distribution.batch_shape, event)
    return distribution.expand(batch).to_event(len(event))
''',
    "rows_of": '''
def rows_of(data, ranks, dim):
    """The plate of the rows; none where values have no leading dimension."""
    for name, rank in ranks.items():
        if name in data and data[name].ndim > rank:
            return pyro.plate("rows", len(data[name]), dim=dim)
    return contextlib.nullcontext()
''',
    "size_of": '''
def size_of(data, axes):
    """The size of a plate: an axis of the first of its values that data have."""
    for name, axis in axes.items():
        if name in data:
            return data[name].shape[axis]
    raise ValueError(f"data: expected a value for one of {list(axes)}")
''',
    "observed": '''
def observed(data, name, *axes):
    """A value that data may have, with singletons for the plates it is not in."""
    value = data.get(name)
    for axis in axes if value is not None else ():
        value = value.unsqueeze(axis)
    return value
''',
    "cat": '''
def cat(*vectors):
    """Vectors one after the other, their leading dimensions broadcast."""
    batch = torch.broadcast_shapes(*(vector.shape[:-1] for vector in vectors))
    return torch.cat([vector.expand(*batch, -1) for vector in vectors], -1)
''',
    "flat_batch": '''
def flat_batch(*pairs):
    """Pairs (value, event rank): their batch shape, and each value as (n, *event)."""
    cut = [(v, v.shape[: v.ndim - rank], v.shape[v.ndim - rank :]) for v, rank in pairs]
    batch = torch.broadcast_shapes(*(own for v, own, event in cut))
    flat = [v.expand(*batch, *event).reshape(-1, *event) for v, own, event in cut]
    return batch, *flat
''',
    "one_hot": '''
def one_hot(states, size):
    """States 0 ... size - 1 as vectors of zeros and a one."""
    return torch.eye(size, device=states.device)[states.long()]
''',
    "safe_log": '''
def safe_log(value):
    """The logarithm, finite at zero."""
    return value.clamp_min(torch.finfo(value.dtype).tiny).log()
''',
    "values_of": '''
def values_of(result, *names):
    """What a function returned, a dict, several values or one, in order."""
    if isinstance(result, dict):
        return [result[name] for name in names]
    return list(result) if isinstance(result, (tuple, list)) else [result]
''',
    "vector_of": '''
def vector_of(result, *names):
    """What a module returned, a dict, several tensors or one, in order."""
    if isinstance(result, dict):
        result = [result[name] for name in names]
    parts = result if isinstance(result, (tuple, list)) else [result]
    return torch.cat([part.reshape(len(part), -1) for part in parts], 1)
''',
}
