import pytest
import torch

from clit_deploy.models.rdn import RDN


@pytest.mark.parametrize(("config", "halo"), [("A", 123), ("B", 131)])
def test_the_halo_is_the_receptive_field(config, halo):
    """With positive weights every pixel in reach counts, and none beyond."""
    encoder = RDN(G0=2, RDNconfig=config, no_upsampling=True)
    assert encoder.halo == halo
    for weight in encoder.parameters():
        weight.data.fill_(0.01 if weight.ndim > 1 else 0)
    encoder.double()
    line = torch.zeros(1, 3, 1, 2 * halo + 11, dtype=torch.float64)
    line[..., 0] = 1
    with torch.no_grad():
        reached = encoder(line)[0, 0, 0].nonzero().max().item()
    assert reached == halo
