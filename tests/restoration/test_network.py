import torch

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
