"""Companding: codes and back, and what is said of waveforms out of range."""

import pytest
import torch

import dgm_ppl as dgm


@pytest.mark.parametrize("states", [16, 256, 1024])
def test_codes_survive_the_way_back_and_waveforms_nearly(states):
    codes = torch.arange(states)
    assert torch.equal(dgm.mu_law(dgm.mu_law_inverse(codes, states), states), codes)
    audio = torch.linspace(-1, 1, 999)
    step = torch.log1p(torch.tensor(states - 1.0)) / (states - 1)           # half a step where |x| is 1, where steps are widest
    assert (dgm.mu_law_inverse(dgm.mu_law(audio, states), states) - audio).abs().max() < 1.2 * step


def test_silence_is_finer():
    width = dgm.mu_law_inverse(torch.arange(256)).diff()
    assert width[127] < width[0] / 100


def test_what_is_out_of_range_is_said():
    with pytest.raises(ValueError, match=r"expected a waveform in \[-1, 1\]; got numbers up to 3; try audio / 3, or pcm / 32768"):
        dgm.mu_law(torch.tensor([0.5, -3.0]))
    with pytest.raises(ValueError, match=r"expected codes 0 to 15; got torch.int64 from 0 to 16; try states=17"):
        dgm.mu_law_inverse(torch.tensor([0, 16]), 16)
