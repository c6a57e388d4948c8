import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import cloudfix
from cloudfix.errors import ModelError
from cloudfix.models import load, read_card
from cloudfix.restoration import network as network_module
from cloudfix.restoration.capacity import capacity
from cloudfix.restoration.network import Network, NetworkPlan, plan_network
from cloudfix.restoration.transfer import Arriving, fetch, send

restore_module = importlib.import_module("cloudfix.restoration.restore")


def restored(network, planes):
    """What a network makes of one batch of tiles."""
    (tiles,) = network.map(lambda optical: (optical, {}, None), [planes])
    return tiles


def test_on_a_cpu_every_batch_has_one_core(tiny_weights):
    """Sums in float32 are rounded differently for each number of threads that share them."""
    card = read_card(tiny_weights)
    network = Network(plan_network(str(tiny_weights), card, device="cpu", precision="fp32", batch_size=None))
    threads = []
    start = network.start
    network.start = lambda *planes: threads.append(torch.get_num_threads()) or start(*planes)
    red = torch.rand(1, 64, 64).numpy()
    assert len(list(network.map(lambda _: (dict.fromkeys(("blue", "green", "red"), red), {}, None), range(3)))) == 3
    assert threads == [1, 1, 1]


@pytest.fixture
def small_device(tiny_weights, monkeypatch):
    """A network of batches of 8 on a device that takes so many tiles at once, and the batches that it was given."""

    def build(most):
        card = read_card(tiny_weights)
        network = Network(plan_network(str(tiny_weights), card, device="cpu", precision="fp32", batch_size=8))
        module, given = network._module, []

        def run(inputs, *_):
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
    first, second = restored(network, planes), restored(network, planes)
    assert given == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    np.testing.assert_array_equal(first, second)
    whole, planes, _ = small_device(8)
    np.testing.assert_allclose(first, restored(whole, planes), atol=1e-6)


def test_a_device_too_small_for_one_tile_is_an_error(small_device):
    network, planes, _ = small_device(0)
    with pytest.raises(ModelError, match=r"cpu has not enough free memory for one tile of 32 × 32; use a smaller"):
        restored(network, planes)


@pytest.fixture
def gpu(monkeypatch):
    """Stands in for a GPU of 1000 bytes, 100 in use and 50 kept for later, on which a tile takes what it is told to."""

    def of(taken):
        memory = SimpleNamespace(allocated=100, peak=0)

        def run(tile):
            memory.peak = memory.allocated + taken * len(tile)
            return tile

        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: setattr(memory, "peak", 0))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: memory.allocated)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: memory.peak)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: memory.allocated + 50)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (850, 1000))
        return run

    return of


@pytest.mark.parametrize(("taken", "fit"), [(0, 512), (100, 4), (90, 8), (91, 4), (720, 1), (900, 1)])
def test_free_memory_and_one_tile_tell_how_many_fit(gpu, taken, fit):
    assert capacity(gpu(taken), torch.zeros(1, 3, 8, 8)) == fit


def test_a_gpu_gets_as_many_tiles_at_once_as_fit(tiny_weights, gpu, monkeypatch):
    monkeypatch.setattr(network_module, "load", lambda weights, device: load(weights))
    card = read_card(tiny_weights)
    network = Network(NetworkPlan(str(tiny_weights), card.checksum, "cuda", "fp32", batch_size=8))
    given = []
    network._plain = gpu(200)
    network._module = lambda tiles: given.append(len(tiles)) or tiles
    network._forward(torch.zeros(8, 3, 8, 8))
    network._forward(torch.zeros(8, 3, 8, 8))
    assert given == [2, 2, 2, 2] * 2


@pytest.mark.parametrize(
    ("device", "tiles", "triton", "compiled"),
    [
        ("cuda:1", 10**6, True, True),
        ("cuda", 100, True, False),
        ("cuda", 10**6, False, False),
        ("cpu", 10**6, True, False),
    ],
)
def test_only_large_scenes_on_a_gpu_are_worth_compiling(tiny_weights, monkeypatch, device, tiles, triton, compiled):
    monkeypatch.setattr(network_module, "resolve_device", lambda device: device)
    monkeypatch.setattr(network_module, "find_spec", lambda name: object() if triton else None)
    card = read_card(tiny_weights)
    plan = plan_network(str(tiny_weights), card, device=device, precision="fp32", batch_size=None, tiles=tiles)
    assert plan.compiled is compiled


def test_a_scene_tells_how_many_tiles_it_has(write_scene, tiny_weights, monkeypatch):
    asked = []
    plain = restore_module.plan_network
    monkeypatch.setattr(
        restore_module, "plan_network", lambda *args, tiles, **options: asked.append(tiles) or plain(*args, **options)
    )
    cloudfix.restore(cloudfix.open_scene(write_scene(100, 70)), model=str(tiny_weights), tile=32, overlap=0)
    assert asked == [4 * 3]


def test_what_is_compiled_runs_as_cuda_graphs(tiny_weights, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: asked.append(options) or module)
    plan = plan_network(str(tiny_weights), read_card(tiny_weights), device="cpu", precision="fp32", batch_size=None)
    Network(plan)
    assert asked == []
    Network(replace(plan, compiled=True))
    assert asked == [{"mode": "reduce-overhead", "dynamic": False}]


def test_values_are_the_same_on_their_way_to_a_device_and_back():
    values = np.random.default_rng(0).random((2, 3, 4), np.float32)
    np.testing.assert_array_equal(fetch(send(values, "cpu")).wait(), values)


def test_values_from_a_gpu_are_waited_for():
    waited = []
    Arriving(torch.zeros(1), SimpleNamespace(synchronize=lambda: waited.append(True))).wait()
    assert waited == [True]
