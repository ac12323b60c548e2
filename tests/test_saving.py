"""Models on disk: the same answers in a fresh process, and no half-read files."""

import json
import re
import struct
import subprocess
import sys

import pytest
import torch
from torch import nn

import dgm_ppl as dgm


def vae() -> tuple[dgm.BayesNet, dgm.BayesNet]:
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Bernoulli(5).given("z", net=dgm.MLP(8)), w=dgm.Normal().given("z"))
    return net, dgm.amortize(net, observed="x", net=dgm.MLP(8))


def nets() -> dict[str, dgm.BayesNet]:
    body = dgm.MLP(6)
    a, t = dgm.refs("a t")
    return {
        "vae": vae()[0], "guide": vae()[1],
        "tables": dgm.BayesNet({"odd name.1": dgm.Categorical(["low", "high"]), "forward": dgm.Bernoulli().given("odd name.1")}),
        "plates": dgm.BayesNet(a=dgm.Normal(), t=dgm.Given(), y=dgm.Normal(loc=a * t, scale=dgm.free(0.3)), plates={"point": dgm.Plate(["t", "y"], size=4)}),
        "shared": dgm.BayesNet(a=dgm.Normal(3), b=dgm.Normal(2).given("a", net=body), c=dgm.Normal(2).given("a", net=body)),
        "extreme": dgm.BayesNet(c=dgm.Categorical(3, logits=[0.0, float("-inf"), 1.0]), y=dgm.MultivariateNormal(2, rank=1)),
    }


@pytest.mark.parametrize("name", nets())
def test_save_then_load_is_the_identity(name, tmp_path):
    model = dgm.compile(nets()[name], seed=3)
    dgm.save(model, tmp_path / "m.safetensors")
    again = dgm.load(tmp_path / "m.safetensors")
    assert again.net == model.net and type(again) is type(model)
    for (key, ours), (other, theirs) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert key == other and torch.equal(ours, theirs)
    assert len(list(again.parameters())) == len(list(model.parameters()))   # what was shared is shared again
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_fresh_process_gives_the_same_answers(tmp_path):
    net, recognition = vae()
    model, guide = dgm.compile(net, seed=0), dgm.compile(recognition, seed=1)
    dgm.save(model, tmp_path / "m.safetensors")
    dgm.save(guide, tmp_path / "g.safetensors")
    script = f"""
import torch, dgm_ppl as dgm
torch.set_num_threads(1)
model, guide = dgm.load({str(tmp_path / "m.safetensors")!r}), dgm.load({str(tmp_path / "g.safetensors")!r})
torch.manual_seed(5)
print(model.sample(2)["x"].tolist(), dgm.log_prob(model, {{"x": torch.ones(2, 5)}}, method=dgm.Importance(guide, 10)).value.tolist())
"""
    fresh = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    torch.manual_seed(5)
    assert fresh.strip() == f'{model.sample(2)["x"].tolist()} {dgm.log_prob(model, {"x": torch.ones(2, 5)}, method=dgm.Importance(guide, 10)).value.tolist()}'


def test_double_precision_is_kept(tmp_path):
    dgm.save(dgm.compile(vae()[0]).double(), tmp_path / "m.safetensors")
    assert dgm.load(tmp_path / "m.safetensors").sample(2)["x"].dtype == torch.float64


def test_code_is_asked_for(tmp_path):
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3, scale=1.0).given("z", net=nn.Linear(2, 3)), y=dgm.Normal(scale=1.0).given("z", fn=lambda z: z.sum(-1)))
    model = dgm.compile(net)
    dgm.save(model, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="node 'x' has the module Linear, which is code; supply it: nets="):
        dgm.load(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="node 'y' has the function 'fn', which is code; supply it: functions="):
        dgm.load(tmp_path / "m.safetensors", nets={"x": nn.Linear(2, 3)})
    again = dgm.load(tmp_path / "m.safetensors", nets={"x": nn.Linear(2, 3)}, functions={"y": lambda z: z.sum(-1)})
    values = model.sample(4)
    torch.testing.assert_close(again.log_prob(values), model.log_prob(values))


def test_families_of_ones_own_are_asked_for(tmp_path):
    import pyro.distributions as dist
    Soft = dgm.family(dist.SoftLaplace)
    dgm.save(dgm.compile(dgm.BayesNet(x=Soft(2))), tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="no family 'SoftLaplace'"):
        dgm.load(tmp_path / "m.safetensors")
    assert dgm.load(tmp_path / "m.safetensors", families={"SoftLaplace": Soft}).sample(3)["x"].shape == (3, 2)


def _header(path, change):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + raw[8 + length :])


def _declaration(header, change):
    document = json.loads(header["__metadata__"]["dgm_ppl"])
    change(document)
    header["__metadata__"]["dgm_ppl"] = json.dumps(document)


DAMAGE = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-20]), "truncated, altered, or not a safetensors file"),
    "empty": (lambda path: path.write_bytes(b""), "truncated, altered, or not a safetensors file"),
    "text": (lambda path: path.write_text("hello " * 100), "truncated, altered, or not a safetensors file"),
    "no declaration": (lambda path: _header(path, lambda h: h.pop("__metadata__")), "holds no dgm_ppl model"),
    "not JSON": (lambda path: _header(path, lambda h: h["__metadata__"].update(dgm_ppl="{")), "truncated, altered"),
    "another version": (lambda path: _header(path, lambda h: _declaration(h, lambda d: d["net"].update(version=99))), "version 99"),
    "a missing part": (lambda path: _header(path, lambda h: _declaration(h, lambda d: d["net"].pop("nodes"))), "damaged"),
    "an unknown family": (lambda path: _header(path, lambda h: _declaration(h, lambda d: d["net"]["nodes"]["z"].update(family="Normall"))), "no family 'Normall'; did you mean 'Normal'"),
    "another shape": (lambda path: _header(path, lambda h: _declaration(h, lambda d: d["net"]["nodes"]["x"].update(shape=[6]))), "the declaration needs"),
    "another node": (lambda path: _header(path, lambda h: _declaration(h, lambda d: d["net"]["nodes"].pop("w"))), "weights do not belong to the declaration"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files_are_named(case, tmp_path):
    path = tmp_path / "m.safetensors"
    dgm.save(dgm.compile(vae()[0]), path)
    damage, message = DAMAGE[case]
    damage(path)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        dgm.load(path)
    assert "m.safetensors" in str(caught.value)


def test_no_such_file_or_folder(tmp_path):
    with pytest.raises(ValueError, match="no file"):
        dgm.load(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="the folder .* does not exist"):
        dgm.save(dgm.compile(vae()[0]), tmp_path / "nowhere" / "m.safetensors")
    with pytest.raises(ValueError, match="expected a compiled model; got BayesNet"):
        dgm.save(vae()[0], tmp_path / "m.safetensors")
