import numpy as np
import pytest
import torch

from cloudfix.errors import ModelError
from cloudfix.models import read_card
from cloudfix.restoration.network import Network, plan_network


def test_on_a_cpu_every_batch_has_one_core(tiny_weights):
    """Sums in float32 are rounded differently for each number of threads that share them."""
    card = read_card(tiny_weights)
    network = Network(plan_network(str(tiny_weights), card, device="cpu", precision="fp32", batch_size=None))
    threads = []
    restore = network.restore
    network.restore = lambda *planes: threads.append(torch.get_num_threads()) or restore(*planes)
    red = torch.rand(1, 64, 64).numpy()
    assert len(list(network.map(lambda _: (dict.fromkeys(("blue", "green", "red"), red), {}), range(3)))) == 3
    assert threads == [1, 1, 1]


@pytest.fixture
def small_device(tiny_weights, monkeypatch):
    """A network of batches of 8 on a device that takes so many tiles at once, and the batches that it was given."""

    def build(most):
        card = read_card(tiny_weights)
        network = Network(plan_network(str(tiny_weights), card, device="cpu", precision="fp32", batch_size=8))
        module, given = network._module, []

        def run(inputs):
            given.append(len(inputs))
            if len(inputs) > most:
                raise torch.OutOfMemoryError("no memory")
            return module(inputs)

        monkeypatch.setattr(network, "_module", run)
        tiles = np.random.default_rng(0).random((8, 32, 32), np.float32)
        return network, dict.fromkeys(card.slots, tiles), given

    return build


def test_a_batch_too_large_for_the_device_is_halved_once_and_for_all(small_device):
    network, planes, given = small_device(3)
    first, second = network.restore(planes, {}), network.restore(planes, {})
    assert given == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    np.testing.assert_array_equal(first, second)
    whole, planes, _ = small_device(8)
    np.testing.assert_allclose(first, whole.restore(planes, {}), atol=1e-6)


def test_a_device_too_small_for_one_tile_is_an_error(small_device):
    network, planes, _ = small_device(0)
    with pytest.raises(ModelError, match=r"cpu has not enough free memory for one tile of 32 × 32; use a smaller"):
        network.restore(planes, {})
