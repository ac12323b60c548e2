"""What every conditional promises, on the table of `cases.py`."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from cases import CONDITIONALS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import dgm_ppl as dgm
from dgm_ppl.families import noise


class Setting:
    """A case compiled, with values of its parents as the conditional receives them."""

    def __init__(self, case, worlds):
        self.model = dgm.compile(case.net, seed=0).eval()
        torch.manual_seed(1)
        self.values = self.model.layout.align_all(self.model.sample(worlds))
        self.node = next(node for node in self.model.schedule if node.name == case.node)
        self.conditional, self.variable = self.node.conditional, case.net[case.node]
        self.batch = self.model.layout.batch(case.node, worlds, self.model.layout.sizes(self.model.sample()))
        self.parents, self.value = self.node.receive(self.values), self.values[case.node]

    def leading(self):
        """The parents' batch dimensions."""
        return torch.broadcast_shapes(*(v.shape[: v.ndim - port.rank] for port, v in zip(self.conditional.ports, self.parents)))

    def log_density(self, *parents, value=None):
        torch.manual_seed(2)                                                # for bounds, which draw noise
        return self.conditional.log_density(self.value if value is None else value, self.conditional.prepare(*parents))

    def determined(self, *parents, conditional=None):
        """What the parents determine: the parameters by name, or the density where the kind has no names for them."""
        conditional = conditional or self.conditional
        value = self.value.to(next(v.dtype for v in conditional.buffers())) if self.value.is_floating_point() else self.value
        torch.manual_seed(2)
        return conditional.parameters_of(*parents) or {"density": conditional.log_density(value, conditional.prepare(*parents))}


@pytest.fixture(params=CONDITIONALS.values(), ids=CONDITIONALS.keys())
def case(request):
    return request.param


@pytest.fixture
def random(case):
    """The cases with a density."""
    if case.net[case.node].is_deterministic:
        pytest.skip("deterministic")
    return case


@pytest.mark.parametrize("worlds", [(), (5,), (3, 5)], ids=str)
def test_batch_is_that_of_the_parents_and_event_that_of_the_variable(case, worlds):
    setting = Setting(case, worlds)
    found = setting.conditional(*setting.parents)
    assert found.event_shape == setting.variable.shape
    assert torch.broadcast_shapes(found.batch_shape, setting.leading()) == found.batch_shape
    assert torch.broadcast_shapes(found.batch_shape, setting.batch) == setting.batch
    drawn = setting.conditional.draw(setting.batch, setting.conditional.prepare(*setting.parents), noise)
    assert drawn.shape == (*setting.batch, *setting.variable.shape) and drawn.dtype == setting.value.dtype


@pytest.mark.parametrize("worlds", [(), (5,), (3, 5)], ids=str)
def test_direct_density_is_that_of_the_distribution(random, worlds):
    setting = Setting(random, worlds)
    direct = setting.log_density(*setting.parents)
    assert direct.shape == setting.batch
    torch.manual_seed(2)
    torch.testing.assert_close(direct, setting.conditional(*setting.parents).log_prob(setting.value))


def test_particles_broadcast(random):
    """Parents on dimensions of their own give what expanded parents give."""
    setting = Setting(random, (4, 5))
    sliced = [value[:1] if i % 2 else value[:, :1] for i, value in enumerate(setting.parents)]
    whole = [value.expand(setting.parents[i].shape) for i, value in enumerate(sliced)]
    torch.testing.assert_close(setting.log_density(*sliced), setting.log_density(*whole))


def test_enumerated_parents_give_what_each_state_gives(random):
    """The k-th finite parent from the right has its states k dimensions left of the worlds, as TraceEnum_ELBO puts them."""
    setting = Setting(random, (5,))
    finite = [i for i, port in enumerate(setting.conditional.ports) if port.is_configuration]
    if not finite or setting.model.layout.rank or setting.conditional.density != "exact":
        pytest.skip("no finite parent in reach, or a bound, whose noise differs from state to state")
    sizes = [setting.conditional.ports[i].space.cardinality for i in finite]
    enumerated, dtypes = list(setting.parents), [setting.parents[i].dtype for i in finite]
    for k, (i, size, dtype) in enumerate(zip(finite, sizes, dtypes)):
        enumerated[i] = torch.arange(size, dtype=dtype).reshape(-1, *(1,) * (len(finite) - k))
    table = setting.log_density(*enumerated)
    for cell in itertools.product(*map(range, sizes)):
        parents = list(setting.parents)
        for i, state, dtype in zip(finite, cell, dtypes):
            parents[i] = torch.full((5,), state, dtype=dtype)
        torch.testing.assert_close(table[cell], setting.log_density(*parents))


def test_parameters_read_every_parent_and_only_their_own_world(case):
    setting = Setting(case, (6,))
    parents = [value.detach().requires_grad_() if value.is_floating_point() else value for value in setting.parents]
    parameters = [value for value in setting.determined(*parents).values() if value.requires_grad and value.ndim and value.shape[0] == 6]
    read = [parent for port, parent in zip(setting.conditional.ports, parents) if parent.requires_grad and not port.is_configuration]
    for parent in read:
        jacobian = torch.zeros(6, 6)
        for row in range(6):
            own = [torch.autograd.grad(value[row].sum(), parent, allow_unused=True, retain_graph=True, materialize_grads=True)[0] for value in parameters]
            jacobian[row] = sum(gradient.abs() for gradient in own).reshape(6, -1).sum(1)
        assert bool(jacobian.diagonal().any())
        assert not bool((jacobian - jacobian.diagonal().diag()).any())


def test_density_reads_the_parents_and_nothing_else(random):
    """The Jacobian is zero where the graph has no arrow."""
    setting = Setting(random, (6,))
    values = {name: value.detach().requires_grad_() if value.is_floating_point() else value for name, value in setting.values.items()}
    density = setting.conditional.log_density(values[random.node], setting.node.prepare(values))
    arrows = {random.node, *random.net.dag.parents(random.node)}
    for name, value in values.items():
        if value.requires_grad and density.requires_grad:
            (gradient,) = torch.autograd.grad(density.sum(), value, allow_unused=True, retain_graph=True)
            assert gradient is None or name in arrows


def test_parameters_change_with_every_finite_parent(case):
    setting = Setting(case, (6,))
    before = setting.determined(*setting.parents)
    for i, port in enumerate(setting.conditional.ports):
        if port.space.cardinality is not None:
            moved = list(setting.parents)
            moved[i] = (moved[i] + 1) % port.space.cardinality
            after = setting.determined(*moved)
            assert any(not torch.equal(before[name], after[name]) for name in before)


def test_gradients_reach_every_parameter(random):
    setting = Setting(random, (60,))
    if not list(setting.conditional.parameters()):
        pytest.skip("nothing is learned")
    setting.log_density(*setting.parents).sum().backward()
    unreached = [name for name, parameter in setting.conditional.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not [name for name in unreached if name != "book.weight"]         # a code's vector moves by the guide's loss, no density depends on it


def test_draws_carry_gradients_where_they_say_so(random):
    setting = Setting(random, (60,))
    drawn = setting.conditional.draw(setting.batch, setting.conditional.prepare(*setting.parents), noise)
    learned = list(setting.conditional.parameters())
    assert drawn.requires_grad == (setting.conditional.reparameterized and bool(learned))
    if drawn.requires_grad:
        gradients = torch.autograd.grad(drawn.square().sum(), learned, allow_unused=True)
        assert all(gradient is not None and gradient.any() for gradient in gradients)


def pickled(module):
    return pickle.loads(pickle.dumps(module))


def saved_whole(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def added(module, number):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(number)
    return module


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved_whole])
def test_copies_work_and_are_independent(case, copied):
    setting = Setting(case, (5,))
    before = setting.determined(*setting.parents)
    learned = bool(list(setting.conditional.parameters()))
    twin = copied(setting.conditional)
    torch.testing.assert_close(setting.determined(*setting.parents, conditional=twin), before)
    added(twin, 0.5)
    torch.testing.assert_close(setting.determined(*setting.parents), before)
    moved = setting.determined(*setting.parents, conditional=twin)
    assert not learned or any(not torch.equal(moved[name], before[name]) for name in before)
    added(setting.conditional, -0.5)
    torch.testing.assert_close(setting.determined(*setting.parents, conditional=twin), moved)
    twin.double()
    assert not any(buffer.dtype is torch.double for buffer in setting.conditional.buffers())
    added(setting.conditional, 0.5)                                         # modules of the table are used as they are


def test_state_dict_carries_the_whole_conditional(case):
    setting = Setting(case, (5,))
    twin = added(copy.deepcopy(setting.conditional), 1.0)
    twin.load_state_dict(setting.conditional.state_dict())
    torch.testing.assert_close(setting.determined(*setting.parents, conditional=twin), setting.determined(*setting.parents))


def test_double_precision(random):
    setting = Setting(random, (5,))
    single = setting.log_density(*setting.parents)
    parents = [value.double() if value.is_floating_point() else value for value in setting.parents]
    value = setting.value.double() if setting.value.is_floating_point() else setting.value
    conditional = copy.deepcopy(setting.conditional).double()
    density = conditional.log_density(value, conditional.prepare(*parents))
    assert density.dtype is torch.double and conditional(*parents).log_prob(value).dtype is torch.double
    if conditional.density == "exact":                                     # the noise of a bound depends on the precision
        torch.testing.assert_close(density.float(), single, rtol=1e-4, atol=1e-4)
    drawn = conditional.draw(setting.batch, conditional.prepare(*parents), noise)
    assert drawn.dtype is (torch.long if setting.variable.space.integer else torch.double)


class Made(TorchDispatchMode):
    """Lists the operations that make a tensor on the CPU."""

    def __init__(self):
        super().__init__()
        self.on_cpu = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if any(isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu" for leaf in tree_leaves(out)):
            self.on_cpu.append(str(function))
        return out


def test_makes_no_tensor_on_the_default_device(random):
    setting = Setting(random, (5,))
    if random.net[random.node].family_name == "StudentT":
        pytest.skip("torch's StudentT checks the values of its Chi2")
    conditional = copy.deepcopy(setting.conditional).to("meta")
    parents, value = [parent.to("meta") for parent in setting.parents], setting.value.to("meta")
    with Made() as made:
        prepared = conditional.prepare(*parents)
        density = conditional.log_density(value, prepared)
        drawn = conditional.draw(setting.batch, prepared, noise)
        divergence = conditional.divergences(prepared, conditional, prepared)
    assert made.on_cpu == []
    assert all(found is None or found.device.type == "meta" for found in (density, drawn, divergence))


def test_runs_on_the_device(random, device):
    setting = Setting(random, (5,))
    conditional = copy.deepcopy(setting.conditional).to(device)
    prepared = conditional.prepare(*(parent.to(device) for parent in setting.parents))
    if conditional.density != "exact":
        assert conditional.log_density(setting.value.to(device), prepared).device.type == device.type
        return
    found = conditional.log_density(setting.value.to(device), prepared)
    torch.testing.assert_close(found.cpu(), setting.log_density(*setting.parents), rtol=1e-4, atol=1e-4)
    assert conditional.draw(setting.batch, prepared, noise).device.type == device.type
