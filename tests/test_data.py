"""Data sets: every container gives the arrays that were written, every bad file one sentence."""
import copyreg
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicredit import data
from minicredit.data import cifar, digits, idx, pickles, sets, streams
from minicredit.errors import UserError

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
N = 3                                                   # images in a batch of our small CIFAR-10
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (5, 4, 3), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 9, 1], np.uint8)
X = RANDOM.integers(0, 256, (6 * N, 3072), dtype=np.uint8)
Y = np.arange(6 * N, dtype=np.uint8) % 10
MEGABYTE = 10**6


def idx_bytes(array, shape=None, magic=None):
    """An IDX file of `array`, whose header may claim another shape or magic."""
    shape = array.shape if shape is None else shape
    magic = 2048 + len(shape) if magic is None else magic
    return struct.pack(f">I{len(shape)}I", magic, *shape) + array.tobytes()


def refused(*words):
    """A UserError of one line with all these words in it."""
    all_of = "".join(f"(?=.*(?:{word}))" for word in words)
    return pytest.raises(UserError, match="(?s)^(?!.*\n)" + all_of)


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def peak_bytes(deed):
    """The most memory `deed` holds at once; it must end in a UserError."""
    tracemalloc.start()
    try:
        with refused():
            deed()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# IDX


@pytest.mark.parametrize("name", ["as its kind", "by content only"])
@pytest.mark.parametrize("packed", PACK)
def test_idx_gives_what_was_written(tmp_path, packed, name):
    end = packed if name == "as its kind" else ""
    images = put(tmp_path / ("images" + end), PACK[packed](idx_bytes(IMAGES)))
    labels = put(tmp_path / ("labels" + end), PACK[packed](idx_bytes(LABELS)))
    x, y = idx.read_pair(images, labels, 10)
    assert x.dtype == y.dtype == np.uint8
    assert np.array_equal(x, IMAGES) and np.array_equal(y, LABELS)


WHOLE = idx_bytes(IMAGES)
BAD_IMAGES = {
    "the label file": (idx_bytes(LABELS), "wanted magic 2051", "got 2049", "label file"),
    "float numbers": (idx_bytes(IMAGES, magic=0x0D03), "wanted magic 2051", "got 3331"),
    "four dimensions": (idx_bytes(IMAGES[None]), "wanted magic 2051", "got 2052"),
    "something else": (b"<!DOCTYPE html>", "wanted magic 2051", "got 1008813135"),
    "an empty file": (b"", "wanted a header of 16 bytes", "after 0"),
    "a header that is cut off": (WHOLE[:9], "wanted a header of 16 bytes", "after 9"),
    "a pixel too few": (WHOLE[:-1], "wanted 76 bytes", "5x4x3", "got 75", "cut off"),
    "a byte too many": (WHOLE + b"x", "wanted 76 bytes", "got more"),
    "no images": (idx_bytes(IMAGES[:0]), "at least one image", "0x4x3"),
    "no images, of absurd size": (idx_bytes(IMAGES[:0], (0, 2**32 - 1, 2**32 - 1)), "at least one"),
    "gzip that is cut off": (gzip.compress(WHOLE)[:-12], "whole compressed file", "cut off"),
    "gzip without its checksum": (gzip.compress(WHOLE)[:-8], "whole compressed file", "cut off"),
    "gzip with a wrong checksum": (gzip.compress(WHOLE)[:-8] + bytes(8), "damaged", "CRC"),
    "gzip with a damaged middle": (gzip.compress(WHOLE)[:40] + b"\xff" * 60, "damaged"),
    "gzip with something behind it": (gzip.compress(WHOLE) + b"more", "damaged"),
    "xz that is cut off": (lzma.compress(WHOLE)[:-20], "whole compressed file", "cut off"),
    "xz with a damaged middle": (lzma.compress(WHOLE)[:40] + b"\xff" * 60, "damaged"),
}


@pytest.mark.parametrize("bad", BAD_IMAGES)
def test_a_bad_image_file_is_refused_in_one_sentence(tmp_path, bad):
    content, *words = BAD_IMAGES[bad]
    path = put(tmp_path / "images", content)
    with refused(f"{path}: wanted", *words):
        idx.read(path, 3)


def test_the_image_file_is_not_the_label_file(tmp_path):
    with refused("labels: wanted magic 2049", "got 2051", "is this the image file"):
        idx.read(put(tmp_path / "labels", WHOLE), 1)


@pytest.mark.parametrize("count, word", [(4, "fewer labels than images"), (6, "more labels than")])
def test_images_and_labels_must_match(tmp_path, count, word):
    images = put(tmp_path / "images", WHOLE)
    labels = put(tmp_path / "labels", idx_bytes(np.zeros(count, np.uint8)))
    with refused(f"{labels}: ", word, "wanted 5", f"got {count}"):
        idx.read_pair(images, labels, 10)


def test_the_first_label_out_of_range_is_named(tmp_path):
    images = put(tmp_path / "images", WHOLE)
    labels = put(tmp_path / "labels", idx_bytes(np.array([1, 2, 10, 11, 3], np.uint8)))
    with refused("labels: wanted labels 0..9", "got 10 at index 2"):
        idx.read_pair(images, labels, 10)


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("count", [2**32 - 1, 200_000])         # 3 TB, and just under the limit
def test_a_false_claim_in_a_header_allocates_nothing(tmp_path, packed, count):
    path = put(tmp_path / "images", PACK[packed](idx_bytes(IMAGES, (count, 28, 28))))
    assert peak_bytes(lambda: idx.read(path, 3)) < 10 * MEGABYTE


def test_a_compressed_bomb_is_unpacked_only_as_far_as_was_wanted(tmp_path):
    zeros = gzip.compress(bytes(2**24))
    path = put(tmp_path / "images", gzip.compress(WHOLE) + 30 * zeros)      # 480 MiB
    assert peak_bytes(lambda: idx.read(path, 3)) < 10 * MEGABYTE
    path = put(tmp_path / "images", lzma.compress(WHOLE + bytes(2**26)))
    assert peak_bytes(lambda: idx.read(path, 3)) < 10 * MEGABYTE


@pytest.mark.parametrize("what", ["nothing", "a folder"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path, what):
    path = tmp_path / "images"
    if what == "a folder":
        path.mkdir()
    with refused(f"{path}: cannot be read"):
        idx.read(path, 3)


# CIFAR-10


def binary(i, y=Y):
    """Batch i as the binary version has it."""
    part = slice(i * N, (i + 1) * N)
    return np.column_stack([y[part], X[part]]).astype(np.uint8).tobytes()


def entries(i, keys=str, order="C"):
    """Batch i as the Python version has it, with str or bytes for keys."""
    part = slice(i * N, (i + 1) * N)
    batch = {"batch_label": f"batch {i}", "labels": Y[part].tolist(),
             "data": np.array(X[part], order=order), "filenames": [b"a.png"] * N}
    return {key if keys is str else key.encode(): value for key, value in batch.items()}


def from_python_2(i, end=None):
    """Batch i as Python 2 wrote the published ones: byte strings, and numpy.core."""
    part, minus_1 = slice(i * N, (i + 1) * N), b"J\xff\xff\xff\xff"
    raw, labels = X[part].tobytes()[:end], b"".join(b"K%c" % y for y in Y[part])
    dtype = (b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + 2 * minus_1 + b"K\x00tb")
    array = (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
             b"(K\x01K%cM\x00\x0c\x86%s\x89T%s%stb" % (N, dtype, struct.pack("<I", len(raw)), raw))
    return b"\x80\x02}q\x01(U\x04data%sU\x06labels](%seu." % (array, labels)


WRITERS = {"binary": binary, "python 2": from_python_2}
for _protocol in (2, 4):
    for _keys in (str, bytes):
        for _order in "CF":
            WRITERS[f"protocol {_protocol}, {_keys.__name__} keys, order {_order}"] = (
                lambda i, p=_protocol, k=_keys, o=_order: pickle.dumps(entries(i, k, o), p))


def batches(writer):
    """{file name: content} of a small CIFAR-10."""
    end = ".bin" if writer == "binary" else ""
    return {name + end: WRITERS[writer](i) for i, name in enumerate(sets.BATCHES)}


def packed_tar(members, pack=gzip.compress):
    """An archive with these members, {name: content}; content may be a TarInfo."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return pack(file.getvalue())


def in_archive(files):
    """The files under the folder of the published archive, in another order, among others."""
    folder = "cifar-10-batches-bin/" if "test_batch.bin" in files else "cifar-10-batches-py/"
    return {folder + "readme.html": b"<p>", **{folder + f: files[f] for f in sorted(files)[::-1]}}


ROW, COLUMN, CHANNEL = np.indices((32, 32, 3))
IN_COLOUR = X[:, 1024 * CHANNEL + 32 * ROW + COLUMN]       # where a record has what a pixel shows


def is_small_cifar(found):
    x, y, x_test, y_test = found
    return (all(a.dtype == np.uint8 for a in found)
            and x.flags.c_contiguous and x_test.flags.c_contiguous
            and np.array_equal(x, IN_COLOUR[:5 * N]) and np.array_equal(y, Y[:5 * N])
            and np.array_equal(x_test, IN_COLOUR[5 * N:]) and np.array_equal(y_test, Y[5 * N:]))


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_cifar_folder_gives_what_was_written(tmp_path, writer, packed):
    for name, content in batches(writer).items():
        put(tmp_path / (name + packed), PACK[packed](content))
    assert is_small_cifar(cifar.read(tmp_path, N))


@pytest.mark.parametrize("writer", WRITERS)
def test_a_cifar_archive_gives_what_was_written_and_extracts_nothing(tmp_path, writer):
    path = put(tmp_path / "cifar.tar.gz", packed_tar(in_archive(batches(writer))))
    assert is_small_cifar(cifar.read(path, N))
    assert list(tmp_path.iterdir()) == [path]


BAD_BATCHES = {
    "a byte too few": (binary(1)[:-1], f"wanted {3073 * N} bytes", f"got {3073 * N - 1}"),
    "a byte too many": (binary(1) + b"x", f"wanted {3073 * N} bytes", "got more"),
    "nothing": (b"", f"wanted {3073 * N} bytes", "got 0"),
    "a label of 10": (binary(1, Y + 5), "labels 0..9", "got 10 at index 2"),
}


@pytest.mark.parametrize("bad", BAD_BATCHES)
def test_a_bad_binary_batch_is_refused_in_one_sentence(tmp_path, bad):
    content, *words = BAD_BATCHES[bad]
    files = {**batches("binary"), "data_batch_2.bin": content}
    for name in files:
        put(tmp_path / name, files[name])
    with refused(str(tmp_path / "data_batch_2.bin"), "wanted", *words):
        cifar.read(tmp_path, N)


def test_a_folder_without_one_batch_is_refused(tmp_path):
    for name, content in list(batches("binary").items())[:-1]:
        put(tmp_path / name, content)
    with refused(f"{tmp_path}: wanted test_batch.bin", "got neither"):
        cifar.read(tmp_path, N)


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


GOOD = in_archive(batches("binary"))
FIRST = "cifar-10-batches-bin/data_batch_1.bin"
LINK = member(FIRST, type=tarfile.SYMTYPE, linkname="/etc/passwd")
BAD_ARCHIVES = {
    "no test batch": (packed_tar({k: v for k, v in GOOD.items() if "test" not in k}), "test_batch"),
    "another folder": (packed_tar({"a\nb/" + k: v for k, v in GOOD.items()}), "wanted six"),
    "a link": (packed_tar({**GOOD, FIRST: LINK}), "data_batch_1.bin to be a file", "a link"),
    "a batch that claims 8 GB": (packed_tar({**GOOD, FIRST: member(FIRST, size=2**33)}),
                                 f"at most {N * 3073} bytes", f"got {2**33} bytes"),
    "a batch too short": (packed_tar({**GOOD, FIRST: b"xy"}), f"wanted {N * 3073} bytes", "got 2"),
    "cut off": (packed_tar(GOOD)[:9000], "cut off|damaged"),
    "a wrong checksum": (packed_tar(GOOD)[:-8] + bytes(8), "damaged"),
    "no archive": (b"<!DOCTYPE html>" * 100, "damaged"),
    "empty": (b"", "damaged|wanted six batches"),
}


@pytest.mark.parametrize("bad", BAD_ARCHIVES)
def test_a_bad_archive_is_refused_in_one_sentence(tmp_path, bad):
    content, *words = BAD_ARCHIVES[bad]
    path = put(tmp_path / "cifar.tar.gz", content)
    with refused(str(path), "wanted", *words):
        cifar.read(path, N)


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path):
    zeros = gzip.compress(bytes(2**24))
    path = put(tmp_path / "bomb.tar.gz", packed_tar(GOOD) + 17 * zeros)
    assert peak_bytes(lambda: cifar.read(path, N)) < 10 * MEGABYTE


# Pickles


class Runs:
    """Pickled as a call; what is in `call` would run when it is read."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function, name", [(os.system, f"{os.system.__module__}.system"),
                                            (eval, "eval"), (np.load, "load"), (Path, "Path")])
def test_a_pickle_that_calls_something_is_refused_and_nothing_runs(tmp_path, function, name,
                                                                   protocol):
    mark = tmp_path / "it ran"
    order = f"open({str(mark)!r}, 'w')" if function is eval else f"touch '{mark}'"
    content = pickle.dumps({**entries(0), "labels": Runs(function, order)}, protocol)
    if function is eval:
        pickle.loads(content)
        assert mark.exists()                            # the trap works where nobody guards
        mark.unlink()
    with refused("data_batch_1: wanted a pickle of arrays", "refused", name, "do not trust"):
        pickles.batch(content, "data_batch_1", N)
    assert not mark.exists()


def test_a_pickle_cannot_reach_a_function_through_a_registered_extension():
    copyreg.add_extension("os", "getcwd", 77)
    copyreg._extension_cache[77] = os.getcwd            # as if it had been used before
    try:
        with refused("refused extension 77"):
            pickles.batch(b"\x80\x02\x82\x4d)R.", "data_batch_1", N)
    finally:
        copyreg.remove_extension("os", "getcwd", 77)


def test_a_name_in_a_pickle_cannot_break_the_line_or_paint_the_terminal():
    with refused(r"refused 'os\.\\n\\x1b\[31msystem'"):
        pickles.batch(b"\x80\x04\x8c\x02os\x8c\x0c\n\x1b[31msystem\x93.", "data_batch_1", N)


def test_a_pickle_cannot_change_our_stand_in():
    before = dict(vars(pickles.Parts))
    for state in (b"}U\x05stateK\x05s", b"N}U\x05stateK\x05s\x86"):
        with refused("damaged"):
            pickles.batch(b"\x80\x02cnumpy\nndarray\n" + state + b"b.", "data_batch_1", N)
    assert dict(vars(pickles.Parts)) == before


def changed(**values):
    return pickle.dumps({**entries(0), **values}, 4)


BAD_PICKLES = {
    "no dict": (pickle.dumps([1, 2]), "an entry 'data'"),
    "no data": (pickle.dumps({"labels": [1, 2, 3]}), "an entry 'data'"),
    "too few rows": (changed(data=X[:2]), "3x3072"),
    "wide rows": (changed(data=X[:3, :3071]), "3x3072"),
    "long rows, as many bytes": (changed(data=X[:3].reshape(2, 4608)), "3x3072"),
    "fewer bytes than the shape says": (from_python_2(0, -1), "3x3072"),
    "signed bytes": (changed(data=X[:3].astype(np.int8)), "3x3072"),
    "float numbers": (changed(data=X[:3].astype(float)), "3x3072"),
    "objects": (changed(data=np.full((3, 3072), None)), "3x3072"),
    "a list for an array": (changed(data=X[:3].tolist()), "3x3072"),
    "too few labels": (changed(labels=[1, 2]), "a list of 3 numbers"),
    "labels that are no numbers": (changed(labels=["1", "2", "3"]), "a list of 3 numbers"),
    "labels that are true or false": (changed(labels=[True] * 3), "a list of 3 numbers"),
    "a label below 0": (changed(labels=[0, -1, 2]), "a list of 3 numbers"),
    "a label of 5000 digits": (changed(labels=[0, 10**5000, 2]), "a list of 3 numbers"),
    "a label of 10": (changed(labels=[0, 1, 10]), "labels 0..9", "got 10 at index 2"),
    "cut off": (pickle.dumps(entries(0), 2)[:-100], "damaged"),
    "empty": (b"", "damaged"),
    "a length of 2 GB": (b"\x80\x02T\xff\xff\xff\x7fabc.", "damaged"),
    "a memo of 4 billion": (b"\x80\x02Nr\xff\xff\xff\xff.", "an entry 'data'"),
}


@pytest.mark.parametrize("bad", BAD_PICKLES)
def test_a_bad_pickle_is_refused_in_one_sentence(bad):
    content, *words = BAD_PICKLES[bad]
    with refused("data_batch_1: wanted", *words):
        pickles.batch(content, "data_batch_1", N)
    assert peak_bytes(lambda: pickles.batch(content, "data_batch_1", N)) < 10 * MEGABYTE


def test_a_pickle_of_absurd_size_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "LARGEST", 1000)
    for name, content in batches("python 2").items():
        put(tmp_path / name, content)
    with refused("data_batch_1: wanted a CIFAR-10 batch of at most 1000 bytes, got more"):
        cifar.read(tmp_path, N)


# Damage of any kind


FILES = {
    **{f"idx{kind}": pack(WHOLE) for kind, pack in PACK.items()},
    **{f"binary{kind}": pack(binary(0)) for kind, pack in PACK.items()},
    "pickle of Python 2": from_python_2(0),
    "pickle, protocol 2": pickle.dumps(entries(0), 2),
    "pickle, protocol 4": pickle.dumps(entries(0), 4),
    "binary archive": packed_tar(GOOD, bytes),
    "binary archive, packed": packed_tar(GOOD),
}


def read_any(kind, content, folder):
    """What the reader for this kind of file makes of it, as images and labels."""
    if kind.startswith("pickle"):
        return pickles.batch(content, "data_batch_1", N)
    if kind.startswith("binary archive"):
        return cifar.read(put(folder / "cifar.tar", content), N)[:2]
    path = put(folder / "data_batch_1.bin", content)
    if kind.startswith("idx"):
        return idx.read(path, 3), np.zeros(1, np.uint8)
    return cifar.batch(streams.first(path, N * 3073 + 1), path, N)


@pytest.mark.parametrize("kind", FILES)
def test_damage_gives_arrays_or_one_sentence_and_nothing_else(kind, tmp_path):
    whole = FILES[kind]
    heads = [0, 16, 60, 512, len(whole)]        # small positions are tried oftener: the headers
    places = st.one_of(*(st.integers(0, min(n, len(whole)) - 1) for n in heads if n))

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4),
           st.integers(-9, 0), st.binary(max_size=5))
    def damage(changes, cut, tail):
        content = bytearray(whole[:len(whole) + cut] + tail)
        for place, byte in changes:
            content[min(place, len(content) - 1)] = byte
        try:
            x, y = read_any(kind, bytes(content), tmp_path)
        except UserError as error:
            assert "\n" not in str(error)
            return
        assert x.dtype == y.dtype == np.uint8 and y.max() < 10

    damage()


# Digits


def test_the_digits_are_the_1797_of_the_source():
    x, y = idx.read_pair(*(digits.FOLDER / f"{file}.gz" for file in sets.DIGITS), 10)
    assert x.shape == (1797, 8, 8) and x.max() == 16
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert y[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert x[0].tolist()[:2] == [[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0]]


def test_the_digits_splits_are_disjoint_and_cover_all():
    parts = digits.split(1797)
    assert [len(part) for part in parts] == list(sets.SETS["digits"].images)
    assert sorted(sum(parts, [])) == list(range(1797))


def test_the_digits_splits_are_the_same_for_ever():
    # The first four of each by another program:
    # for i in $(seq 0 1796); do echo $(printf $i | sha256sum) $i; done | LC_ALL=C sort
    train, validation, test = digits.split(1797)
    assert test[:4] == [1039, 886, 286, 1467]               # lines 1..4
    assert train[:4] == [1235, 1523, 812, 1420]             # lines 361..364
    assert validation[:4] == [1125, 1179, 646, 1351]        # lines 1655..1658


def test_the_digits_load_as_numbers_from_0_to_1():
    data_set = data.load("digits")
    assert data_set.K == 10 and data_set.shape == (8, 8) and len(data_set.classes) == 10
    for x, y in (data_set.train, data_set.validation, data_set.test):
        assert x.dtype == np.float32 and x.flags.c_contiguous and x.shape == (len(y), 64)
        assert x.min() == 0 and x.max() == 1 and np.array_equal(x * 16, np.round(x * 16))
        assert y.dtype == np.int64 and set(y) == set(range(10))


# Finding and loading


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """MNIST of 5 + 4 images in a cache folder; MINICREDIT_DATA names another, empty one."""
    monkeypatch.setitem(sets.SETS, "mnist",
                        sets.SETS["mnist"]._replace(images=(3, 2, 4), shape=(4, 3)))
    monkeypatch.setenv("MINICREDIT_DATA", str(tmp_path / "chosen"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    folder = tmp_path / "cache" / "minicredit" / "mnist"
    contents = IMAGES, LABELS, IMAGES[:4], LABELS[:4]
    for name, array in zip(sets.IDX, contents):
        put(folder / f"{name}.gz", gzip.compress(idx_bytes(array)))
    return folder


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_set_loads_with_its_validation_images_last(small_mnist, dtype):
    data_set = data.load("mnist", dtype)
    x, y = IMAGES.reshape(5, 12) / dtype(255), LABELS
    wanted = (x[:3], y[:3]), (x[3:], y[3:]), (x[:4], y[:4])
    for got, (x, y) in zip((data_set.train, data_set.validation, data_set.test), wanted):
        assert got.x.dtype == dtype and got.x.flags.c_contiguous and got.y.dtype == np.int64
        assert np.array_equal(got.x, x.astype(dtype)) and np.array_equal(got.y, y)
    assert data_set.path == small_mnist
    assert repr(data_set) == "Dataset(name='mnist', shape=(4, 3), K=10)"


def test_the_chosen_folder_comes_before_the_cache(small_mnist, tmp_path):
    for name, array in zip(sets.IDX, (IMAGES[::-1], LABELS, IMAGES[:4], LABELS[:4])):
        put(tmp_path / "chosen" / "mnist" / name, idx_bytes(array))
    assert data.load("mnist").path == tmp_path / "chosen" / "mnist"
    (tmp_path / "chosen" / "mnist" / sets.IDX[1]).unlink()
    assert data.load("mnist").path == small_mnist       # for the first is no longer complete


def test_a_set_that_is_not_there_names_the_folders_and_the_command(small_mnist, tmp_path):
    (small_mnist / "t10k-labels-idx1-ubyte.gz").unlink()
    with refused("mnist: not found in", f"{tmp_path}/chosen or {tmp_path}/cache/minicredit",
                 "minicredit data get mnist", f"{small_mnist} lacks t10k-labels-idx1-ubyte"):
        data.load("mnist")


def test_a_set_of_another_size_is_refused(small_mnist):
    for name, array in zip(sets.IDX[2:], (IMAGES, LABELS)):
        put(small_mnist / f"{name}.gz", gzip.compress(idx_bytes(array)))
    with refused(f"{small_mnist}: wanted 5 training and 4 test images", "got 5 and 5"):
        data.load("mnist")
    put(small_mnist / f"{sets.IDX[2]}.gz", gzip.compress(idx_bytes(IMAGES[:4, :, :2].copy())))
    put(small_mnist / f"{sets.IDX[3]}.gz", gzip.compress(idx_bytes(LABELS[:4])))
    with refused(f"{small_mnist}: wanted mnist images of 4x3", "got 4x2"):
        data.load("mnist")


def test_a_split_is_two_arrays_and_reads_the_rows_it_is_asked_for():
    split = data.Split(np.arange(20.).reshape(5, 4), LABELS)
    x, y = split
    assert x is split.x and y is split.y and split.n == 5
    batches = [np.array([4, 0]), np.array([1])]
    for (x, y), rows in zip(split.read(batches, key=(0, 1, 2, 3)), batches, strict=True):
        assert np.array_equal(x, split.x[rows]) and np.array_equal(y, split.y[rows])
    first = split.first(2)
    assert first.n == 2 and np.array_equal(first.x, split.x[:2])
    assert np.array_equal(first.y, LABELS[:2]) and split.first(9).n == 5


def test_an_unknown_set_and_a_dtype_for_counting_are_refused():
    with refused("no data set is called 'mnst'; there are digits, mnist, fashion-mnist, cifar10"):
        data.load("mnst")
    with refused("digits: wanted a float dtype", "got uint8"):
        data.load("digits", np.uint8)


def test_the_table_says_what_there_is_and_where(small_mnist):
    rows = {row["name"]: row for row in data.table()}
    assert tuple(rows) == data.NAMES == ("digits", "mnist", "fashion-mnist", "cifar10")
    assert rows["mnist"]["found"] == small_mnist and rows["cifar10"]["found"] is None
    for row in rows.values():
        assert row["size_bytes"] > 0 and row["terms"] and row["source"]
        assert len(row["classes"]) == 10


# The real sets


MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
REAL = {        # label histograms, mean and standard deviation of the training pixels, by colour
    "mnist": (MNIST_TRAIN, MNIST_TEST, [0.1307], [0.3081]),
    "fashion-mnist": ([6000] * 10, [1000] * 10, [0.2860], [0.3530]),
    "cifar10": ([5000] * 10, [1000] * 10, [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_a_real_set_has_the_published_counts_and_pixels(name, monkeypatch):
    beside = Path(__file__).parents[2] / "shared" / "data"
    if "MINICREDIT_DATA" not in os.environ and beside.is_dir():
        monkeypatch.setenv("MINICREDIT_DATA", str(beside))
    if sets.find(name) is None:
        pytest.skip(sets.missing(name))
    data_set = data.load(name)
    train, validation, test = data_set.train, data_set.validation, data_set.test
    count, count_test, mean, std = REAL[name]
    assert (len(train.y), len(validation.y), len(test.y)) == sets.SETS[name].images
    assert np.bincount(np.concatenate([train.y, validation.y])).tolist() == count
    assert np.bincount(test.y).tolist() == count_test
    n, total, squares = 0, 0, 0                         # in pieces: CIFAR-10 in float64 is 1.2 GB
    for piece in np.array_split(train.x, 20) + [validation.x]:
        piece = piece.reshape(-1, len(mean)).astype(float)          # the channels come last
        n += len(piece)
        total += piece.sum(axis=0)
        squares += (piece**2).sum(axis=0)
    assert total / n == pytest.approx(mean, abs=5e-5)
    assert np.sqrt(squares / n - (total / n)**2) == pytest.approx(std, abs=5e-5)
    if name == "cifar10":
        assert train.y[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
        assert test.y[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
