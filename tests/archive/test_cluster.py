"""The same files from a cluster, whatever happens to it."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest

from cloudfix.archive import scene as scene_module
from cloudfix.archive import workers as workers_module
from cloudfix.archive.cluster import local_workers, reach, remote_workers
from cloudfix.archive.options import Options
from cloudfix.archive.outcome import Outcome
from cloudfix.archive.records import Records
from cloudfix.archive.run import Archive, run_archive
from cloudfix.archive.scene import Single, restore_scene
from cloudfix.archive.tasks import Names, Task, plan
from cloudfix.errors import ClusterError, SceneError, UsageError

distributed = pytest.importorskip("distributed")

SCENES = 8


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers, processes in a folder of their own: the address, and the scheduler's process."""
    dask = [sys.executable, "-m", "dask"]
    folder = tmp_path_factory.mktemp("workers")
    told = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", told, "--no-dashboard"], **quiet
    )
    worker = [*dask, "worker", "--scheduler-file", told, "--nthreads", "1", "--nworkers", "2", "--no-dashboard"]
    nannies = subprocess.Popen([*worker, "--death-timeout", "60"], **quiet)
    yield _address(told), scheduler
    for process in (nannies, scheduler):
        process.terminate()
        process.wait()


def _address(told):
    while True:
        with suppress(OSError, ValueError):
            return json.loads(told.read_text())["address"]
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def scenes(write_scene):
    return [(write_scene(64, 64 + k, name=f"{k}.tif", clouds=((10, 10, 20),)).name,) for k in range(SCENES)]


@pytest.fixture
def archive(tiny_weights):
    def at(folder):
        options = Options(model=str(tiny_weights))
        return Archive.open(Records(Path(folder)), options), Names(Path(folder))

    return at


def made(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.tif")}


def quiet_run(archive, scenes, folder="quiet"):
    run, names = archive(folder)
    assert {outcome.status for outcome in run_archive(run, plan(scenes, names))} <= {"done", "failed"}
    return made(names.folder)


def pids(client):
    return list(client.run(os.getpid).values())


def test_a_worker_killed_in_mid_run_costs_nothing(cluster, archive, scenes, tmp_path):
    Path("bad.tif").write_text("no raster")
    scenes = [*scenes, ("bad.tif",)]
    with remote_workers(cluster[0]) as workers:
        workers.client.wait_for_workers(2, timeout=60)
        victim = pids(workers.client)[0]
        run, names = archive("clear")
        outcomes = []
        for outcome in run_archive(run, plan(scenes, names), workers.attempts):
            if not outcomes:
                os.kill(victim, signal.SIGKILL)
            outcomes.append(outcome)
        statuses = sorted(outcome.status for outcome in outcomes)
        assert statuses == ["done"] * SCENES + ["failed"], [outcome.to_json() for outcome in outcomes]
        assert victim not in pids(workers.client)
        loads = workers.client.run(_loads)
    assert max(loads.values()) == 1
    assert made(tmp_path / "clear") == quiet_run(archive, scenes)


def test_what_a_killed_worker_had_done_was_done_by_this_run(cluster, archive, scenes, tmp_path):
    Path("bad.tif").write_text("no raster")
    with remote_workers(cluster[0]) as workers:
        workers.client.wait_for_workers(2, timeout=60)
        run, names = archive("clear")
        tasks = plan([*scenes, ("bad.tif",)], names)
        unfinished = run_archive(run, tasks, workers.attempts)
        outcomes = [next(unfinished)]
        # Workers keep what they found until it is asked for.
        while sum(map(len, (kept := workers.client.has_what()).values())) < len(tasks) - 1:
            time.sleep(0.1)
        os.kill(workers.client.run(os.getpid)[max(kept, key=lambda worker: len(kept[worker]))], signal.SIGKILL)
        outcomes += unfinished
    statuses = sorted((outcome.status, outcome.earlier) for outcome in outcomes)
    assert statuses == [("done", False)] * SCENES + [("failed", False)]
    assert {outcome.status for outcome in run_archive(archive("clear")[0], tasks)} == {"skipped", "failed"}
    assert made(tmp_path / "clear") == quiet_run(archive, scenes)


@dataclass(frozen=True)
class _Blamed(Archive):
    """Dask says of every scene that workers died of it, of 0.tif rightly so: it says so again."""

    def attempt(self, task, progress=None):
        before = task.output.with_suffix(".blamed")
        if before.exists() and Path(task.sources[0]).name != "0.tif":
            return Outcome(task, "done")
        before.touch()
        raise distributed.KilledWorker(task.title, SimpleNamespace(address="tcp://lost"), 3)


def test_a_scene_that_waited_where_another_killed_is_not_blamed(cluster, scenes, tmp_path):
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    run, tasks = _Blamed.open(Records(tmp_path), Options()), plan(scenes[:3], Names(tmp_path))
    with remote_workers(cluster[0]) as workers:
        outcomes = {Path(o.task.sources[0]).stem: o for o in run_archive(run, tasks, workers.attempts)}
        with pytest.raises(ClusterError, match=r"0\.tif: several workers died of it"):
            workers.restore(run, tasks[0])
    assert {name: outcome.status for name, outcome in outcomes.items()} == {"0": "failed", "1": "done", "2": "done"}
    assert "0.tif: several workers died of it" in outcomes["0"].record.reason
    assert run.records.read("0_clear.tif").status == "failed"


def _loads():
    from cloudfix.restoration import network

    return network._load.cache_info().misses


def test_the_chunks_of_a_large_scene_go_to_all_workers(
    cluster, archive, write_scene, tiny_weights, tmp_path, monkeypatch
):
    monkeypatch.setattr(workers_module, "_LARGE", 0)
    source = write_scene(700, 600, clouds=((50, 50, 550),)).name
    single = Single(Options(model=str(tiny_weights), tile=128))
    with remote_workers(cluster[0]) as workers:
        workers.client.wait_for_workers(2, timeout=60)
        workers.restore(single, Task((source,), tmp_path / "clear.tif"))
        assert min(workers.client.run(_loads).values()) == 1
        with pytest.raises(SceneError, match=r"absent.tif: no such file"):
            workers.restore(single, Task(("absent.tif",), tmp_path / "out.tif"))
    restore_scene(Task((source,), tmp_path / "quiet.tif"), single.options)
    assert (tmp_path / "clear.tif").read_bytes() == (tmp_path / "quiet.tif").read_bytes()


def test_a_scheduler_that_goes_away_ends_the_run_and_the_next_goes_on(
    cluster, archive, scenes, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(logging.getLogger("distributed.client"), "propagate", True)
    address, scheduler = cluster
    done = 0
    with pytest.raises(ClusterError, match="the scheduler is gone"), remote_workers(address) as workers:
        run, names = archive("clear")
        for outcome in run_archive(run, plan(scenes, names), workers.attempts):
            done += outcome.status == "done"
            scheduler.kill()
    assert 0 < done < SCENES
    assert caplog.text == ""
    assert _once_nobody_is_at_it(archive, scenes).count("skipped") >= done
    assert made(tmp_path / "clear") == quiet_run(archive, scenes)


def _once_nobody_is_at_it(archive, scenes):
    """The statuses of another run, when the workers that lost their scheduler have finished what they had in hand."""
    while True:
        run, names = archive("clear")
        statuses = [outcome.status for outcome in run_archive(run, plan(scenes, names))]
        if "busy" not in statuses:
            return statuses
        time.sleep(0.1)


@pytest.mark.parametrize("error", [RuntimeError("cannot schedule new futures"), SceneError("0.tif: cannot be read")])
def test_what_fails_as_a_worker_closes_is_no_failure_of_the_scene(archive, scenes, tmp_path, monkeypatch, error):
    def fail(*_args, **_kwargs):
        worker = distributed.get_worker()
        worker.loop.add_callback(worker.close, nanny=False)
        while worker.status == distributed.Status.running:
            time.sleep(0.01)
        raise error

    run, names = archive("clear")
    (task,) = plan(scenes[:1], names)
    told = tmp_path / "told"
    monkeypatch.setattr(scene_module, "restore_scene", fail)
    with (
        distributed.LocalCluster(1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        future = client.submit(_attempt, run, task, told)
        while not told.exists():
            time.sleep(0.01)
        del future
    assert told.read_text() == f"ClusterError: 0.tif: the scheduler was lost ({error}); the same command goes on"
    assert run.settled(task) is None


def _attempt(run, task, told):
    """For a worker: tells what is raised in a file, as the worker is no more to tell it."""
    try:
        raised = run.attempt(task)
    except ClusterError as error:
        raised = f"ClusterError: {error}"
    partial = told.with_suffix(".partial")
    partial.write_text(str(raised))
    partial.rename(told)


def test_processes_of_this_machine(archive, scenes, tmp_path):
    with local_workers(1) as workers:
        run, names = archive("clear")
        outcomes = run_archive(run, plan(scenes, names), workers.attempts)
        assert next(outcomes).status == "done"
        outcomes.close()
    left = [path.name for path in (tmp_path / "clear").iterdir() if path.name.startswith(".")]
    assert left == [".cloudfix"]
    assert set(made(tmp_path / "clear").items()) <= set(quiet_run(archive, scenes).items())


def test_wrong_use_is_said_before_anything_starts():
    with pytest.raises(UsageError, match="one of them"), reach("tcp://host:8786", 2):
        pass
    with pytest.raises(UsageError, match="--workers 0"), reach(None, 0):
        pass
    with pytest.raises(ClusterError, match=r"--dask nowhere.*no scheduler answers"), reach("nowhere://x", None):
        pass


def test_workers_of_one_machine_share_its_cores_and_gpus(monkeypatch):
    import torch

    every = sorted(os.sched_getaffinity(0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def shares(count):
        with ThreadPoolExecutor(1) as thread:
            # The same thread again and again: a share must not be a share of a share.
            return [thread.submit(_share, index, count).result() for index in range(count)]

    assert [gpu for gpu, _ in shares(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert sorted(core for _, cores in shares(len(every)) for core in cores) == every
    assert all(cores for _, cores in shares(len(every) + 1))
    assert sorted(os.sched_getaffinity(0)) == every
    assert Options(device="auto").on("cuda:1").device == "cuda:1"
    assert Options(device="cpu").on("cuda:1").device == "cpu"


def _share(index, count):
    return workers_module._take_share(index, count), os.sched_getaffinity(0)
