"""Weights that are a program: never run, refused in one line."""

import pickle
import struct
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cloudfix.cli import app
from cloudfix.errors import CloudfixError
from cloudfix.models import read_card


class Bomb:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "executed"


def pickled(path, mark):
    path.write_bytes(pickle.dumps(Bomb(mark)))


def torch_saved(path, mark):
    torch.save({"weight": Bomb(mark)}, path)


def old_torch_saved(path, mark):
    torch.save({"weight": Bomb(mark)}, path, _use_new_zipfile_serialization=False)


def zipped(path, mark):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(mark)))
        archive.writestr("archive/version", "3")


def behind_a_header(path, mark):
    header = b'{"__metadata__": {}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + pickle.dumps(Bomb(mark)))


WAYS = (pickled, torch_saved, old_torch_saved, zipped, behind_a_header)


@pytest.mark.parametrize("make", WAYS)
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt"])
def test_a_pickle_named_as_weights_is_never_unpickled(make, name, mark, write_scene, tmp_path):
    make(tmp_path / name, mark)
    scene = write_scene(64, 64)
    command = ["run", str(scene), "-o", str(tmp_path / "out.tif"), "--model", str(tmp_path / name)]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, CloudfixError)
    assert name in str(error)
    assert "\n" not in str(error)
    assert not mark.exists()
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("make", WAYS)
def test_a_checkpoint_that_is_a_program_is_not_imported(make, mark, tmp_path):
    make(tmp_path / "w.pth", mark)
    command = ["models", "import", str(tmp_path / "w.pth"), "--as", "aca-crnet", "-o", str(tmp_path / "w.safetensors")]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, CloudfixError)
    assert "\n" not in str(error)
    assert not mark.exists()
    assert not (tmp_path / "w.safetensors").exists()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.just(struct.pack("<Q", 9000) + b"[" * 9000),
        st.builds(
            lambda n, text: struct.pack("<Q", n) + text.encode(), st.integers(0, 2**64 - 1), st.text(max_size=80)
        ),
    )
)
def test_any_bytes_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(CloudfixError) as caught:
        read_card(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 3000), flip=st.integers(0, 3000), value=st.integers(0, 255))
def test_a_spoilt_header_is_refused_in_one_line(tiny_weights, tmp_path, cut, flip, value):
    content = bytearray(tiny_weights.read_bytes()[: 4000 - cut])
    content[min(flip, len(content) - 1)] = value
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    try:
        read_card(path)
    except CloudfixError as error:
        assert "\n" not in str(error)
