"""Small files that ask for much: each is refused at once, by what it asks."""
import io
import lzma
import tarfile
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from minicredit.data import cifar, folder, pickles, streams
from minicredit.data.folder import load_folder
from minicredit.errors import UserError


@pytest.fixture
def soon():
    """It takes less than a second; a file that would take for ever fails after 20."""
    import faulthandler
    faulthandler.dump_traceback_later(20, exit=True)
    start = time.process_time()
    yield
    faulthandler.cancel_dump_traceback_later()
    assert time.process_time() - start < 1


TWICE = b"N" + b"2\x86" * 60                # a tuple of a tuple of ..., each twice: 2^60 to hash


@pytest.mark.parametrize("content", [b"\x80\x02}" + TWICE + b"K\x01s.",
                                     b"\x80\x02}(" + TWICE + b"K\x01u.",
                                     b"\x80\x02(" + TWICE + b"K\x01d.",
                                     b"\x80\x04\x8f(" + TWICE + b"\x90.",
                                     b"\x80\x04(" + TWICE + b"\x91."],
                         ids=["item", "items", "dict", "set", "frozenset"])
def test_a_pickle_that_would_hash_for_ever_is_refused(content, soon):
    with pytest.raises(UserError):
        pickles.batch(content, "data_batch_1", 2)


def test_a_pickle_that_claims_a_large_array_gets_none(soon):
    with pytest.raises(UserError, match="damaged"):
        pickles.batch(b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.", "data_batch_1", 2)


def greedy():
    """An xz file whose header asks for a dictionary of 1.5 GiB."""
    data = bytearray(lzma.compress(b"x" * 1000, lzma.FORMAT_XZ))
    size = 4 * (data[12] + 1)
    assert data[14] == 0x21                             # LZMA2; its dictionary stands in two bytes
    data[16] = 37
    data[12 + size - 4:12 + size] = zlib.crc32(data[12:12 + size - 4]).to_bytes(4, "little")
    return bytes(data)


def test_an_xz_file_that_asks_for_much_memory_is_refused(tmp_path, soon):
    path = tmp_path / "some.xz"
    path.write_bytes(greedy())
    with pytest.raises(UserError, match="[Mm]emory"):
        streams.first(path, 1000)


@pytest.mark.parametrize("n", [1, 7, 10**6])
def test_an_xz_file_is_read_as_python_reads_it(n, tmp_path):
    data = np.random.default_rng(0).integers(0, 9, 5000, np.uint8).tobytes()
    packed = lzma.compress(data[:2000]) + b"\0" * 8 + lzma.compress(data[2000:]) + b"\0" * 4
    stream, found = streams.Xz(io.BytesIO(packed)), b""
    while block := stream.read(n):
        assert len(block) <= n
        found += block
    assert found == data
    with pytest.raises(EOFError):
        stream = streams.Xz(io.BytesIO(packed[:-40]))
        while stream.read(n):
            pass


def backwards():
    """A tar header whose size is below zero."""
    member = tarfile.TarInfo("a/0.png")
    head = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    head[124:136] = b"-0000002000\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) * 4 + bytes(1024)


@pytest.mark.parametrize("read", [load_folder, cifar.read], ids=["pictures", "CIFAR-10"])
def test_an_archive_that_goes_backwards_is_refused(read, tmp_path, soon):
    path = tmp_path / "some.tar"
    path.write_bytes(backwards())
    with pytest.raises(UserError):
        read(path)


@pytest.mark.parametrize("read", [load_folder, cifar.read], ids=["pictures", "CIFAR-10"])
def test_an_archive_of_headers_about_headers_is_refused(read, tmp_path, soon):
    """Each says that the next has a long name; Python reads them by calling itself."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2
    head = member.tobuf(tarfile.GNU_FORMAT) + b"a\0" + bytes(510)
    path = tmp_path / "some.tar"
    path.write_bytes(head * 3000 + bytes(1024))
    with pytest.raises(UserError):
        read(path)


def jpeg(scans):
    """A small JPEG with more scans than it needs."""
    out = io.BytesIO()
    Image.new("RGB", (30, 30)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    at = data.index(b"\xff\xda")
    end = data.index(b"\xff", at + 2)
    return data[:at] + data[at:end] * scans + data[at:]


def test_a_jpeg_of_very_many_scans_is_refused(soon):
    with pytest.raises(ValueError, match="at most 100 scans, it has 5"):
        folder.square(io.BytesIO(jpeg(500)), 16)
    assert folder.square(io.BytesIO(jpeg(0)), 16).shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_of_very_many_pixels_is_refused_before_one_is_decoded(kind, soon):
    out = io.BytesIO()
    Image.new("L", (16, 16)).save(out, kind)
    data = bytearray(out.getvalue())
    if kind == "PNG":
        data[16:24] = (50_000).to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    else:
        at = data.index(b"\xff\xc0")
        data[at + 5:at + 9] = (50_000).to_bytes(2, "big") * 2
    with pytest.raises(ValueError, match="pixels, it has 50000x50000"):
        folder.square(io.BytesIO(data), 16)


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(folder, "LARGE", 100)
    out, lock = io.BytesIO(), threading.Lock()
    Image.new("RGB", (30, 30)).save(out, "PNG")
    held = []
    monkeypatch.setattr(folder, "rgb", lambda picture: held.append(lock.locked()) or picture)
    folder.square(io.BytesIO(out.getvalue()), 16, None, lock)
    monkeypatch.setattr(folder, "LARGE", 10**6)
    folder.square(io.BytesIO(out.getvalue()), 16, None, lock)
    assert held == [True, False]
