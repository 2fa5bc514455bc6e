"""The other side of what is measured computes the same, up to a constant."""

import torch

from scripts.bench.losses.region_peers import rmi as unfolded_rmi
from segkit.losses import rmi_loss
from tests.losses.cases import make_batch


def test_rmi_as_its_authors_compute_it_has_our_gradient():
    batch = make_batch((2, 3, 24, 32), (24, 32), dtype=torch.float64)
    batch.target[:, 5:20, 3:17] = 1
    for mix in (0.0, 0.4):
        ours = rmi_loss(batch.logits, batch.target, probabilities="sigmoid", mix=mix, pool=4)
        theirs = unfolded_rmi(batch.logits, batch.target, mix=mix, pool=4, padding=0)
        mine, other = (torch.autograd.grad(loss, batch.logits)[0] for loss in (ours, theirs))
        # They divide by one pixel more, and compute in fp32 what they then unfold.
        assert 0 < (mine - other).norm() < 2e-3 * mine.norm()
    padded = unfolded_rmi(batch.logits, batch.target)
    assert padded.isfinite() and torch.autograd.grad(padded, batch.logits)[0].isfinite().all()
