"""Guides for Pyro programs: the graph that is read, what guides reach, and what is refused."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.infer.inspect import get_dependencies

import dgm_ppl as dgm
from dgm_ppl.guides.reading import read_program

SIGMA = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])


@pytest.fixture(autouse=True)
def _alone():
    torch.manual_seed(0)
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


def schools(sigma, y):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def written(x):
    """Two causes of two measurements, which are filled into a buffer; rows are data."""
    with pyro.plate("rows", len(x)):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(0.5 * a, 1.0))
        loc = torch.zeros(*torch.broadcast_shapes(a.shape, b.shape), 2)
        loc[..., 0] = a + b
        loc[..., 1] = b
        pyro.sample("x", dist.Normal(loc, 0.7).to_event(1), obs=x)


def mixture(x):
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(2)))
    with pyro.plate("component", 2):
        loc = pyro.sample("loc", dist.Normal(0.0, 3.0))
    with pyro.plate("point", len(x)):
        c = pyro.sample("c", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(loc[c], 0.5), obs=x)


def subsampled(x, y, part=4):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x), subsample_size=part) as rows:
        noise = pyro.sample("noise", dist.LogNormal(0.0, 1.0))
        pyro.sample("y", dist.Normal(slope * x[rows], noise), obs=y[rows])


def arrows(guide):
    return {(parent, child) for parent, child in guide.program.dag.edges}


def test_a_linear_gaussian_program_reaches_the_exact_evidence():
    mix = torch.tensor([[1.5, 1.0], [0.5, 1.0]])                            # x = mix @ (noise of a, noise of b)
    covariance = mix @ mix.T + 0.49 * torch.eye(2)
    x = torch.distributions.MultivariateNormal(torch.zeros(2), covariance).sample((256,))
    guide = dgm.amortize(written, observed="x", args=(x,), net=dgm.MLP())
    svi = SVI(written, guide, pyro.optim.ExponentialLR({"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.05}, "gamma": 0.99}), Trace_ELBO(5, vectorize_particles=True, max_plate_nesting=1))
    for _ in range(500):
        svi.step(x)
        svi.optim.step()
    test = torch.distributions.MultivariateNormal(torch.zeros(2), covariance).sample((200,))       # another number of rows
    exact = torch.distributions.MultivariateNormal(torch.zeros(2), covariance).log_prob(test).mean()
    bound = -Trace_ELBO().loss(written, guide, test) / 200
    assert exact - bound == pytest.approx(0.0, abs=5e-3)


def test_arrows_through_in_place_writes_are_found_where_tracking_loses_them():
    guide = dgm.amortize(written, observed="x", args=(torch.randn(6, 2),), net=dgm.MLP(8))
    assert arrows(guide) == {("a", "b"), ("a", "x"), ("b", "x")}
    assert "a" not in get_dependencies(written, (torch.randn(6, 2),))["prior_dependencies"]["x"]


def test_eight_schools_reads_its_arguments_and_serves_every_objective_and_size():
    guide = dgm.amortize(schools, observed="y", args=(SIGMA, EFFECTS), net=dgm.MLP(16))
    assert arrows(guide) == {("mu", "theta"), ("tau", "theta"), ("theta", "y"), ("sigma", "y")}
    assert str(guide.certificate()).startswith("sound, minimal")
    assert guide.net.plates["school"].size is None and set(guide.net["mu"].parents) == {"sigma", "y"}
    names = {name for name, _ in guide.named_parameters()}
    for objective in (Trace_ELBO(), TraceMeanField_ELBO(), RenyiELBO(num_particles=2), Trace_ELBO(3, vectorize_particles=True, max_plate_nesting=1)):
        svi, before = SVI(schools, guide, pyro.optim.Adam({"lr": 1e-3}), objective), [value.clone() for value in guide.parameters()]
        assert all(math.isfinite(svi.step(SIGMA[:size], EFFECTS[:size])) for size in (8, 3, 1))
        assert not any(torch.equal(a, b) for a, b in zip(before, guide.parameters()))
    assert names and not len(pyro.get_param_store())
    assert "theta" in dgm.draw(guide.program, guide=guide).svg()


def test_the_bound_stays_below_the_evidence_and_comes_near():
    def normal(sigma, y):
        mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
        with pyro.plate("school", len(sigma)):
            theta = pyro.sample("theta", dist.Normal(mu, 1.0))
            pyro.sample("y", dist.Normal(theta, sigma), obs=y)

    sigma, y = SIGMA / 10, EFFECTS / 10
    exact = torch.distributions.MultivariateNormal(torch.zeros(8), 4 + torch.diag(1 + sigma**2)).log_prob(y)
    guide = dgm.amortize(normal, observed="y", args=(sigma, y), net=dgm.MLP(16))
    svi = SVI(normal, guide, pyro.optim.ExponentialLR({"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.02}, "gamma": 0.995}), TraceMeanField_ELBO(8, vectorize_particles=True, max_plate_nesting=1))
    for _ in range(500):
        svi.step(sigma, y)
        svi.optim.step()
    gap = exact + Trace_ELBO(2000, vectorize_particles=True, max_plate_nesting=1).loss(normal, guide, sigma, y)
    assert -0.01 < gap < 0.1


def test_a_mixture_has_a_guide_for_its_states_or_leaves_them_to_enumeration():
    x = torch.randn(9)
    guide = dgm.amortize(mixture, observed="x", args=(x,), net=dgm.MLP(8))
    assert guide.net.inversion.factors["loc"].coupled == ("component",) and set(guide.net["c"].parents) == {"weights", "loc", "x"}
    assert SVI(mixture, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO()).step(x) > 0

    for model, options in ((mixture, {"collapse": "c"}), (pyro.infer.config_enumerate(mixture), {})):
        guide = dgm.amortize(model, observed="x", args=(x,), net=dgm.MLP(8), **options)
        trace = poutine.trace(guide).get_trace(x)
        assert "c" not in trace
        weights, loc = trace.nodes["weights"]["value"], trace.nodes["loc"]["value"]
        likelihood = (weights.log() + dist.Normal(loc, 0.5).log_prob(x.unsqueeze(-1))).logsumexp(-1).sum()
        prior = dist.Dirichlet(torch.ones(2)).log_prob(weights) + dist.Normal(0.0, 3.0).log_prob(loc).sum()
        held = poutine.replay(guide, trace)
        loss = TraceEnum_ELBO(max_plate_nesting=1).loss(pyro.infer.config_enumerate(mixture), held, x)
        assert -loss == pytest.approx((likelihood + prior - trace.log_prob_sum()).item(), rel=1e-4)


def test_topics_are_drawn_for_any_number_of_documents_and_words():
    def topics(words):
        with pyro.plate("topic", 3):
            terms = pyro.sample("terms", dist.Dirichlet(torch.ones(6)))
        with pyro.plate("document", words.shape[1]):
            shares = pyro.sample("shares", dist.Dirichlet(torch.ones(3)))
            with pyro.plate("word", words.shape[0]):
                z = pyro.sample("z", dist.Categorical(shares))
                pyro.sample("w", dist.Categorical(terms[z]), obs=words)

    guide = dgm.amortize(topics, observed="w", args=(torch.randint(6, (7, 4)),), net=dgm.MLP(8))
    assert arrows(guide) == {("shares", "z"), ("z", "w"), ("terms", "w")}
    for shape in ((7, 4), (5, 9)):
        found = guide(torch.randint(6, shape))
        assert found["z"].shape == shape and found["shares"].shape == (shape[1], 3) and found["terms"].shape == (3, 6)


def test_a_latent_outside_a_subsampled_plate_reads_all_its_members():
    x, y = torch.randn(20), torch.randn(20)
    guide = dgm.amortize(subsampled, observed="y", args=(x, y), net=dgm.MLP(8))
    slopes, noises = [], []
    for _ in range(3):
        trace = poutine.trace(guide).get_trace(x, y)
        slopes.append(trace.nodes["slope"]["fn"].loc)
        rows = trace.nodes["data"]["value"]
        with poutine.condition(data={"slope": torch.tensor(0.3)}):
            seen = poutine.trace(poutine.replay(guide, trace)).get_trace(x, y)
        noises.append((rows, trace.nodes["noise"]["value"]))
        assert len(rows) == 4 and trace.nodes["noise"]["value"].shape == (4,) and "noise" in seen
        assert poutine.trace(poutine.replay(subsampled, trace)).get_trace(x, y).nodes["data"]["value"] is rows
    assert torch.equal(slopes[0], slopes[1]) and torch.equal(slopes[0], slopes[2]) and not torch.equal(noises[0][0], noises[1][0])
    assert SVI(subsampled, guide, pyro.optim.Adam({"lr": 1e-3}), TraceMeanField_ELBO()).step(x, y, part=7) > 0

    changed = y.clone()
    changed[torch.tensor([row for row in range(20) if row not in rows])] += 5.0
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = poutine.trace(guide).get_trace(x, y).nodes["slope"]["fn"].loc
    assert not torch.equal(before, poutine.trace(guide).get_trace(x, changed).nodes["slope"]["fn"].loc)


def test_local_latents_are_served_by_minibatches_of_rows():
    decoder = torch.nn.Linear(2, 5)

    def vae(x, size):
        pyro.module("decoder", decoder)
        with pyro.plate("data", size, subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    x = torch.rand(100, 5).round()
    guide = dgm.amortize(vae, observed="x", args=(x[:8], 100), net=dgm.MLP(8))
    assert not len(pyro.get_param_store()) and arrows(guide) == {("z", "x")}
    svi = SVI(vae, guide, pyro.optim.Adam({"lr": 1e-2}), TraceMeanField_ELBO())
    assert all(svi.step(x[:size], 100) > 0 for size in (8, 32, 100))
    assert {name.split("$")[0] for name in pyro.get_param_store().keys()} == {"decoder"}


def test_dimensions_that_plates_share_and_that_they_leave_free():
    def siblings(y, x):
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("a", 3):
            u = pyro.sample("u", dist.Normal(m, 1.0))
            pyro.sample("y", dist.Normal(u, 1.0), obs=y)
        with pyro.plate("b", 4, dim=-2):
            v = pyro.sample("v", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(v.sum(-1) + m, 1.0), obs=x)
        with pyro.plate("c", 5):
            pyro.sample("w", dist.Normal(m, 1.0))

    args = torch.randn(3), torch.randn(4, 1)
    guide = dgm.amortize(siblings, observed=["y", "x"], args=args, net=dgm.MLP(8))
    found = guide(*args)
    assert {name: tuple(value.shape) for name, value in found.items()} == {"m": (), "u": (3,), "v": (4, 1, 3), "w": (5,)}
    assert guide.barren == ("w",)
    for objective in (TraceMeanField_ELBO(), Trace_ELBO(6, vectorize_particles=True, max_plate_nesting=2)):
        assert SVI(siblings, guide, pyro.optim.Adam({"lr": 1e-3}), objective).step(*args) > 0


def test_what_is_told_apart_is_read_in_order_and_needs_its_size():
    scales = torch.tensor([0.5, 1.0, 2.0])

    def constant(y):
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("member", len(y)):
            pyro.sample("y", dist.Normal(m, scales[: len(y)]), obs=y)

    guide = dgm.amortize(constant, observed="y", args=(torch.randn(3),), net=dgm.MLP(8))
    assert guide.net["m"].net.ordered == ("member",)
    with pytest.raises(dgm.GraphError, match="plate 'member' has 2 members in this run and 3 when the guide was made, and 'y' tells them apart"):
        guide(torch.randn(2))


def test_reading_leaves_no_trace():
    def learned(x):
        scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
        z = pyro.sample("z", dist.Normal(0.0, scale))
        weight = pyro.param("weight", torch.tensor(0.0))                    # zero at first: it hides the arrow from values alone
        pyro.sample("x", dist.Normal(weight * z, 1.0), obs=x)

    x, state = torch.tensor(0.3), torch.get_rng_state()
    program = read_program(learned, "x", (x,), {})
    assert torch.equal(torch.get_rng_state(), state) and not len(pyro.get_param_store())
    assert list(program.net.dag.edges) == [("z", "x")]


def test_arguments_in_dicts_are_read_and_dtypes_follow_the_program():
    def line(data, *, scale):
        slope = pyro.sample("slope", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        spare = pyro.sample("spare", dist.Normal(slope, 1.0))                # nothing observed depends on it
        offset = pyro.sample("offset", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        with pyro.plate("n", len(data["y"])):
            pyro.sample("y", dist.Normal(slope * data["x"] + offset, scale), obs=data["y"])
        return spare

    data, scale = {"x": torch.randn(6).double(), "y": torch.randn(6).double()}, torch.tensor(1.0).double()
    guide = dgm.amortize(line, observed="y", args=(data,), kwargs={"scale": scale}, net=dgm.MLP(8))
    assert arrows(guide) == {("slope", "spare"), ("slope", "y"), ("offset", "y"), ("x", "y"), ("scale", "y")}
    assert guide.barren == ("spare",) and guide(data, scale=scale)["offset"].dtype == torch.float64
    first = {name: value[:2] for name, value in data.items()}
    assert SVI(line, guide, pyro.optim.Adam({"lr": 1e-3}), TraceMeanField_ELBO()).step(first, scale=2 * scale) > 0
    with pytest.raises(dgm.GraphError, match=r"argument 'scale': expected a tensor of the shape \(\), as when the guide was made; got no tensor"):
        guide(data, scale=1.0)
    assert set(guide._repr_mimebundle_()) and "slope" in dgm.draw(guide).svg()


def changing(x):
    if pyro.sample("coin", dist.Bernoulli(0.5)) > 0:
        pyro.sample("extra", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def rare(x):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    if z.abs() > 4:
        pyro.sample("extra", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def mutated(x):
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    z[0] = 1.0
    pyro.sample("x", dist.Normal(z[1], 1.0), obs=x)


def growing(x):
    z = pyro.sample("z", dist.Poisson(2.0))
    pyro.sample("v", dist.Normal(torch.zeros(int(z) + 1), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def factored(x):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    pyro.factor("penalty", -z.abs())
    pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def masked(x):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with poutine.mask(mask=x > 0):
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def unplated(x):
    z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0))
    pyro.sample("x", dist.Normal(z.sum(), 1.0), obs=x)


def cholesky(x):
    z = pyro.sample("z", dist.LKJCholesky(3, 1.0))
    pyro.sample("x", dist.Normal(z[1, 0], 1.0), obs=x)


def rows_alone(x):
    m = pyro.sample("m", dist.Normal(0.0, 1.0))
    with pyro.plate("data", 10, subsample_size=3):
        pyro.sample("x", dist.Normal(m, 1.0), obs=x.expand(3))


def dropping(x):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(torch.dropout(z.expand(8), 0.5, True).sum(), 1.0), obs=x)


def sized_at_random(x):
    with pyro.plate("member", int(torch.randint(2, 6, ()))):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(z.sum(), 1.0), obs=x)


@pytest.mark.parametrize("program, message", [
    (dropping, r"site 'x': its density differs between two runs with the same values.*net.eval\(\)"),
    (sized_at_random, r"site 'z': the program's structure changes from run to run: plate 'member' has \d members in run \d, \d in run 1"),
    (changing, r"site 'extra': the program's structure changes from run to run: the site is there in run \d and not in run \d"),
    (rare, r"site 'extra': .* is there in a run in which 'z' was set to .* and not in run 1"),
    (mutated, r"site 'z': its value is written in place after it is drawn.*z = z.clone\(\)"),
    (growing, r"site 'v': .* it has the event shape \(\d+,\) in run \d, \(\d+,\) in run 1"),
    (factored, r"site 'penalty': a guide cannot read what enters pyro.factor"),
    (masked, r"site 'x' is inside poutine.mask"),
    (unplated, r"site 'z': its batch shape \(3,\) has 3 in dimension -1, which is in no plate; try .to_event\(1\)"),
    (cholesky, r"site 'z' ~ LKJCholesky has the support .*, for which there is no recognition family"),
    (rows_alone, r"plate 'data': a latent outside it depends on all its members, and the program can be given the subsample alone"),
])
def test_programs_that_are_refused(program, message):
    with pytest.raises(dgm.GraphError, match=message):
        dgm.amortize(program, observed="x", args=(torch.tensor(0.3),), net=dgm.MLP(8))


def test_questions_that_are_refused():
    args = (SIGMA, EFFECTS)
    with pytest.raises(dgm.GraphError, match="the program has no site 'why'"):
        dgm.amortize(schools, observed="why", args=args)
    with pytest.raises(dgm.GraphError, match="site 'theta' has no observed value"):
        dgm.amortize(schools, observed="theta", args=args)
    with pytest.raises(dgm.GraphError, match="nothing is observed; name the sites that the program observes"):
        dgm.amortize(poutine.uncondition(schools), observed=(), args=args)
    with pytest.raises(dgm.GraphError, match="cannot be called with these arguments: missing a required argument: 'y'"):
        dgm.amortize(schools, observed="y", args=(SIGMA,))
    with pytest.raises(dgm.GraphError, match="collapse names 'mu', which cannot be enumerated"):
        dgm.amortize(schools, observed="y", args=args, collapse="mu")
    with pytest.raises(dgm.GraphError, match="args and kwargs are what a Pyro program is called with"):
        dgm.amortize(dgm.BayesNet(z=dgm.Normal(), x=dgm.Normal().given("z")), observed="x", args=args)


def test_a_call_with_another_structure_is_refused():
    def sequence(y):
        z = torch.tensor(0.0)
        for t in pyro.markov(range(len(y))):
            z = pyro.sample(f"z{t}", dist.Normal(z, 1.0))
            pyro.sample(f"y{t}", dist.Normal(z, 1.0), obs=y[t])

    guide = dgm.amortize(sequence, observed=["y0", "y1", "y2"], args=(torch.randn(3),), net=dgm.MLP(8))
    assert arrows(guide) == {("z0", "y0"), ("z0", "z1"), ("z1", "y1"), ("z1", "z2"), ("z2", "y2")}
    assert SVI(sequence, guide, pyro.optim.Adam({"lr": 1e-3}), TraceMeanField_ELBO()).step(torch.randn(3)) > 0
    with pytest.raises(dgm.GraphError, match="site 'z2': the program's structure changes from run to run"):
        guide(torch.randn(2))
