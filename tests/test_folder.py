"""Pictures in folders: what they become, how they are shared out, and what is refused."""
import gzip
import io
import lzma
import os
import re
import struct
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minicredit import data
from minicredit.data import folder, streams
from minicredit.data.augment import below, coins, draws
from minicredit.data.folder import load_folder
from minicredit.errors import UserError
from minicredit.keys import DATA
from minicredit.training import batches

KEY = (5, DATA, 0, 3)
PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
RANDOM = np.random.default_rng(0)


def pixels(height=20, width=20, colour=None):
    """A picture as uint8 (height, width, 3): noise, or one colour."""
    if colour is not None:
        return np.full((height, width, 3), colour, np.uint8)
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(array, kind="PNG", mode=None, **options):
    """A picture as the bytes of a file."""
    file, picture = io.BytesIO(), Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(file, kind, **options)
    return file.getvalue()


def put(root, files):
    """Write {name: bytes} below root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def tar(files):
    """An archive of {name: bytes or TarInfo}."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return file.getvalue()


def in_order(split, size):
    """The rows of a split in batches of `size`."""
    return [np.arange(k, min(k + size, split.n)) for k in range(0, split.n, size)]


def everything(split, key=None, size=7):
    """All pictures of a split in the order of its rows, read in batches of `size`."""
    x, y = zip(*split.read(in_order(split, size), key))
    return np.concatenate(x), np.concatenate(y)


def one(root, content, size=20, name="odd.png", **options):
    """What the picture `content` becomes: the first of its validation folder, as bytes."""
    plain = encoded(pixels())
    put(root, {f"train/{k}/{i}.png": plain for k in "ab" for i in range(2)})
    put(root, {f"val/a/{name}": content, "val/b/plain.png": plain})
    split = load_folder(root, size, **options).test
    row = next(i for i in range(2) if split.names[i].endswith(name))
    for x, _ in split.read([np.array([row])]):
        return np.round(255 * x[0].astype(float)).astype(np.uint8).reshape(size, size, 3)


def refused(*words):
    """A UserError of one line with all these words in it."""
    all_of = "".join(f"(?=.*(?:{word}))" for word in words)
    return pytest.raises(UserError, match="(?s)^(?!.*\n)" + all_of)


PICTURE = encoded(pixels())
ALONE = {f"{k}/{k}_{i}.png": PICTURE for k in ("ant", "bee", "cat") for i in range(20)}
PARTED = {**{f"train/{name}": PICTURE for name in ALONE},
          **{f"val/{k}/{i}.png": PICTURE for k in ("ant", "bee", "cat") for i in range(5)}}
THREE = {**PARTED, **{name.replace("val", "test"): PICTURE for name in PARTED if "val" in name}}


# Where they lie


SHARES = {"alone": (ALONE, 48, 6, 6), "parted": (PARTED, 54, 6, 15), "three": (THREE, 60, 15, 15)}


@pytest.mark.parametrize("top", ["", "top/", "one/two/"])
@pytest.mark.parametrize("name", SHARES)
def test_the_pictures_are_shared_out_once_each_with_the_label_of_their_folder(tmp_path, name, top):
    files, *counts = SHARES[name]
    root = put(tmp_path, {top + file: content for file, content in files.items()})
    found = load_folder(root, 16)
    splits = found.train, found.validation, found.test
    assert found.classes == ("ant", "bee", "cat") and found.K == 3 and found.shape == (16, 16, 3)
    assert [split.n for split in splits] == counts
    assert sorted(sum((split.names for split in splits), [])) == sorted(top + f for f in files)
    for split in splits:
        labels = [found.classes.index(Path(name).parent.name) for name in split.names]
        assert split.y.dtype == np.int64 and split.y.tolist() == labels
    assert len(set(found.train.y[:10])) == 3                # not one class after the other
    if name != "alone":
        published = found.test if name == "parted" else found.validation
        assert all("val/" in file for file in published.names)


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("top", ["", "./", "top/"])
def test_an_archive_is_the_folder_that_was_packed(tmp_path, packed, top):
    names = [*PARTED, "train/ant/CAPITALS.PNG", "train/ant/.hidden.png", "train/ant/readme.txt"]
    files = {name: encoded(pixels()) for name in names}
    archive = put(tmp_path, {"a.tar": PACK[packed](tar({top + n: c for n, c in files.items()}))})
    one = load_folder(archive / "a.tar", 16)
    other = load_folder(put(tmp_path / "f", files), 16)
    assert one.classes == other.classes and one.train.n == 55      # 61 less a tenth
    for a, b in ((one.train, other.train), (one.validation, other.validation),
                 (one.test, other.test)):
        assert [n.removeprefix("top/") for n in a.names] == b.names and np.array_equal(a.y, b.y)
        assert np.array_equal(everything(a, KEY)[0], everything(b, KEY)[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "f"]     # nothing extracted


def test_another_seed_shares_them_out_otherwise_and_the_same_seed_alike(tmp_path):
    root = put(tmp_path, ALONE)
    first, again, other = (load_folder(root, 16, seed=seed) for seed in (0, 0, 1))
    assert first.test.names == again.test.names and first.train.names == again.train.names
    assert set(first.test.names) != set(other.test.names)


def test_jpg_jpeg_and_png_in_any_case_are_pictures_and_nothing_else_is(tmp_path):
    jpeg, png = encoded(pixels(), "JPEG"), encoded(pixels())
    names = {"1.jpg": jpeg, "2.JPEG": jpeg, "3.Jpeg": jpeg, "4.PNG": png, "5.JPG": jpeg,
             "6.png": png}
    others = {"7.txt": b"x", "8.gif": b"x", ".9.jpg": b"x", "jpeg": b"x"}
    for k in "ab":
        put(tmp_path, {f"{k}/{name}": content for name, content in {**names, **others}.items()})
    put(tmp_path, {"readme.txt": b"x", ".hidden/1.jpg": b"x", "__doc/readme.txt": b"x"})
    (tmp_path / "__doc" / "readme.txt").unlink()
    (tmp_path / "__doc").rmdir()
    found = load_folder(tmp_path, 16)
    assert sum(split.n for split in (found.train, found.validation, found.test)) == 12
    everything(found.train)
    assert not found.train.damaged


def without(files, words):
    return {name: content for name, content in files.items() if words not in name}


BAD_LAYOUTS = {
    "nothing": ({"readme.txt": b""}, "wanted pictures", "got none"),
    "no folders": ({"1.png": PICTURE, "2.png": PICTURE}, "in class folders", "got '1.png'"),
    "one class": (without(without(ALONE, "ant"), "bee"), "two class folders", "got 'cat'"),
    "a class without pictures": ({**ALONE, "dog/readme.txt": b""}, "every class", "none in 'dog'"),
    "no pictures of a class in train": (
        {**PARTED, "train/dog/x.txt": b"", "val/dog/1.png": PICTURE},
        "train: wanted pictures in every class", "'dog'"),
    "a class that is in val alone": ({**PARTED, "val/dog/1.png": PICTURE},
                                     "val: wanted the same 3 classes", "'dog'"),
    "a class that is not in val": (without(PARTED, "val/bee"), "val: wanted the same 3", "'bee'"),
    "an empty val": ({**{n: PICTURE for n in PARTED if "val/" not in n}, "val/x.txt": b""},
                     "val: wanted the same 3 classes"),
    "val without folders": ({**without(PARTED, "val/"), "val/1.png": PICTURE},
                            "wanted pictures in train/, val/ or test/", "got 'val/1.png'"),
    "val alone": ({n: PICTURE for n in PARTED if "val/" in n}, "wanted a folder train", "got val"),
    "both layouts": ({**PARTED, **ALONE}, "wanted pictures in train/", "got 'ant/ant_0.png'"),
    "a picture beside the classes": ({**ALONE, "1.png": PICTURE}, "in class folders", "'1.png'"),
    "a picture below the classes": ({**ALONE, "ant/more/1.png": PICTURE}, "'ant/more/1.png'"),
    "two pictures": ({"a/1.png": PICTURE, "b/1.png": PICTURE}, "training, validation", "got 2"),
}


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize("bad", BAD_LAYOUTS)
def test_another_layout_is_refused_in_one_sentence(tmp_path, bad, kind):
    files, *words = BAD_LAYOUTS[bad]
    path = put(tmp_path / "at", files) if kind == "folder" else tmp_path / "at"
    if kind == "archive":
        path.write_bytes(tar(files))
    with refused(str(path), *words):
        load_folder(path, 16)


@pytest.mark.parametrize("option, words", [({"image_size": 0}, "image_size: wanted 1 to"),
                                           ({"image_size": 10**6}, "got 1000000"),
                                           ({"workers": 0}, "workers: wanted 1 or more, got 0")])
def test_a_size_or_a_number_of_workers_that_cannot_be_is_refused(tmp_path, option, words):
    with refused(words):
        load_folder(put(tmp_path, ALONE), **option)


def test_a_path_where_nothing_is_is_named(tmp_path):
    with refused(f"{tmp_path}/none: cannot be read: No such file"):
        data.load(f"folder:{tmp_path}/none")


def test_load_takes_a_folder_by_its_name(tmp_path):
    put(tmp_path, PARTED)
    found = data.load(f"folder:{tmp_path}", np.float64, image_size=18)
    assert found.name == f"folder:{tmp_path}" and found.path == tmp_path
    (x, y), = found.test.read([np.arange(3)])
    assert x.dtype == np.float64 and x.shape == (3, 18 * 18 * 3) and y.shape == (3,)
    with refused("wanted a float dtype", "got uint8"):
        data.load(f"folder:{tmp_path}", np.uint8)


def test_who_has_no_pictures_needs_no_pillow():
    code = "import sys, minicredit.data as d; d.load('digits'); print('PIL' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


# Archives that cannot be trusted


def link(name, **fields):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    for key, value in fields.items():
        setattr(member, key, value)
    return member


def sparse():
    """An archive with a member of 512 bytes that claims to be a file of 8 GB."""
    member = tarfile.TarInfo("a/huge.png")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % (2**33 - 1)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header) + bytes(512) + tar(ALONE)


WHOLE = tar(ALONE)
HEADER = WHOLE.index(b"bee/bee_0.png")
BAD_ARCHIVES = {
    "a way out": (tar({**ALONE, "a/../../b.png": PICTURE}), "own folders", "'a/../../b.png'"),
    "an absolute name": (tar({**ALONE, "/etc/b.png": PICTURE}), "own folders", "'/etc/b.png'"),
    "a name of Windows": (tar({**ALONE, "a\\..\\b.png": PICTURE}), "own folders"),
    "a name of two lines": (tar({**ALONE, "a/b\nc/1.png": PICTURE}), "class folders"),
    "a link": (tar({**ALONE, "ant/l.png": link("ant/l.png")}), "'ant/l.png' to be a plain file"),
    "a hard link": (tar({**ALONE, "l": link("ant/l.png", type=tarfile.LNKTYPE)}), "plain file"),
    "a device": (tar({**ALONE, "l": link("ant/l.png", type=tarfile.CHRTYPE)}), "plain file"),
    "a sparse file": (sparse(), "'a/huge.png' to be a plain file"),
    "cut off in a picture": (WHOLE[:5000], "damaged"),
    "cut off between pictures": (WHOLE[:HEADER], "cut off"),
    "cut off in a header": (WHOLE[:HEADER + 99], "cut off"),
    "a broken header": (WHOLE[:HEADER] + b"?" * 512 + WHOLE[HEADER + 512:], "damaged"),
    "gzip that is cut off": (gzip.compress(WHOLE)[:-9], "cut off"),
    "a wrong checksum": (gzip.compress(WHOLE)[:-8] + bytes(8), "damaged"),
    "a picture": (PICTURE, "damaged"),
    "empty": (b"", "damaged|cut off"),
}


@pytest.mark.parametrize("bad", BAD_ARCHIVES)
def test_a_bad_archive_is_refused_in_one_sentence(tmp_path, bad):
    content, *words = BAD_ARCHIVES[bad]
    (tmp_path / "a.tar").write_bytes(content)
    with refused(f"{tmp_path}/a.tar: wanted", *words):
        load_folder(tmp_path / "a.tar", 16)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]


def test_an_archive_too_large_for_memory_is_refused_and_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(WHOLE))
    monkeypatch.setattr(streams, "LARGEST", 10_000)
    with refused("a.tar.gz: wanted an archive of at most 10000 bytes", "unpack it, and give the"):
        load_folder(tmp_path / "a.tar.gz", 16)


# What a picture becomes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_picture_of_the_size_wanted_comes_as_it_is_row_by_row_with_channels_last(tmp_path, dtype):
    want = pixels(20, 20)
    assert np.array_equal(one(tmp_path, encoded(want), dtype=dtype), want)


@pytest.mark.parametrize("height, width", [(37, 39), (39, 37), (35, 41), (39, 39), (37, 99)])
def test_the_middle_is_cut_from_a_picture_that_is_a_little_larger(tmp_path, height, width):
    picture = pixels(height, width)
    down, across = (height - 35) // 2, (width - 35) // 2
    want = picture[down:down + 35, across:across + 35]
    assert np.array_equal(one(tmp_path, encoded(picture), 35), want)


def slopes(height, width):
    """A picture whose red rises from left to right, and whose green from top to bottom."""
    picture = np.zeros((height, width, 3))
    picture[:, :, 0] = 255 * (np.arange(width) + 0.5) / width
    picture[:, :, 1] = 255 * (np.arange(height)[:, None] + 0.5) / height
    return np.round(picture).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("height, width, size, short", [
    (120, 411, 224, 224), (56, 75, 224, 224), (600, 800, 64, 73), (800, 200, 64, 73),
    (250, 300, 224, 250), (3, 400, 16, 16)])
def test_the_shorter_side_becomes_the_size_to_8_7_of_it_and_the_middle_is_cut(
        tmp_path, kind, height, width, size, short):
    got = one(tmp_path, encoded(slopes(height, width), kind), size, f"x.{kind}").astype(float)
    scale = short / min(height, width)
    place = (np.arange(size) + 0.5 - size / 2) / scale      # from the middle, in source pixels
    tolerance = 2 + 255 / height if kind == "PNG" else 6 + 255 / height
    inner = slice(1, -1)                                    # at a border there is less to mix
    assert abs(got[:, :, 0] - 255 * (0.5 + place / width))[inner, inner].max() < tolerance
    assert abs(got[:, :, 1].T - 255 * (0.5 + place / height))[inner, inner].max() < tolerance


GREY = RANDOM.integers(0, 256, (20, 20), dtype=np.uint8)
COLOURS = {
    "grey": (encoded(GREY), np.dstack([GREY] * 3)),
    "grey with a mask": (encoded(GREY, mode="LA"), np.dstack([GREY] * 3)),
    "black and white": (encoded(GREY > 99), np.dstack([np.uint8(255) * (GREY > 99)] * 3)),
    "a palette": (encoded(GREY, mode="P"), np.dstack([GREY] * 3)),
    "a transparent palette": (encoded(GREY, mode="P", transparency=b"\0" * 99),
                              np.dstack([GREY] * 3)),
    "transparent": (encoded(np.dstack([pixels(colour=(9, 99, 200)), 0 * GREY])),
                    pixels(colour=(9, 99, 200))),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", COLOURS)
def test_every_kind_of_picture_becomes_red_green_and_blue(tmp_path, kind):
    content, want = COLOURS[kind]
    assert np.array_equal(one(tmp_path, content), want)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_becomes_red_green_and_blue(tmp_path, mode):
    got = one(tmp_path, encoded(pixels(colour=(200, 100, 40)), "JPEG", mode), name="odd.JPEG")
    want = np.array((200, 100, 40) if mode != "L" else [123] * 3)       # 0.299, 0.587, 0.114
    assert abs(got.astype(int) - want).max() <= 2


def test_a_png_that_is_called_jpeg_is_read_as_what_it_is(tmp_path):
    want = pixels()
    assert np.array_equal(one(tmp_path, encoded(want), name="odd.JPEG"), want)


# Training pictures


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """1,000 training pictures of 23x21 that are one and the same, for squares of 20."""
    root, picture = tmp_path_factory.mktemp("cut"), pixels(23, 21)
    content = encoded(picture)
    put(root, {f"{part}/{k}/{i}.png": content for part in ("train", "val", "test") for k in "ab"
               for i in range(500 if part == "train" else 5)})
    return root, picture


@pytest.mark.parametrize("crop, flip", [(True, True), (True, False), (False, True)])
def test_a_training_picture_is_cut_and_flipped_as_its_words_say(cut, crop, flip):
    root, picture = cut
    split = load_folder(root, 20, crop=crop, flip=flip).train
    x, _ = everything(split, KEY, 64)
    got = np.round(255 * x.astype(float)).astype(np.uint8).reshape(-1, 20, 20, 3)
    words, seen = draws(split.n, KEY), set()
    for n in range(0, split.n, 7):
        down, across = below(words[n, :2], np.array([4, 2])) if crop else (1, 0)
        want = picture[down:down + 20, across:across + 20]
        if not crop:                                        # 1.5, 0.5: between four pixels
            want = np.asarray(Image.fromarray(picture).resize((20, 20), 2, (0.5, 1.5, 20.5, 21.5)))
        flipped = flip and coins(words[n, 2])
        assert np.array_equal(got[n], want[:, ::-1] if flipped else want)
        seen.add((int(down), int(across), bool(flipped)))
    assert len(seen) == (8 if crop else 1) * (2 if flip else 1)


def test_validation_and_test_pictures_are_never_cut_at_random(cut):
    found = load_folder(cut[0], 20)
    for split in (found.validation, found.test):
        assert np.array_equal(everything(split, KEY)[0], everything(split)[0])
    assert not np.array_equal(everything(found.train, KEY)[0], everything(found.train)[0])


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_same_key_gives_the_same_pictures_whatever_the_workers_and_batches(tmp_path, workers):
    root = put(tmp_path, {name: encoded(pixels(26, 31)) for name in PARTED})
    want, y = everything(load_folder(root, 24, workers=3).train, KEY)
    split = load_folder(root, 24, workers=workers).train
    rows = batches(split.n, 11, KEY)
    for k, (got, labels) in enumerate(split.read(rows, KEY)):
        assert np.array_equal(got, want[rows[k]]) and np.array_equal(labels, y[rows[k]])
    few = split.first(13)
    assert few.n == 13 and few.names == split.names[:13]
    assert np.array_equal(everything(few, KEY)[0], want[:13])
    for other in ((6, DATA, 0, 3), (5, DATA, 1, 3), (5, DATA, 0, 4)):
        assert not np.array_equal(everything(split, other)[0], want)


# Damage


def png(width, height, chunks=b""):
    """The beginning of a PNG that claims to be of some size."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(
            ">I", zlib.crc32(kind + content))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + chunk(b"IDAT", zlib.compress(bytes(9999)))


NOISE = encoded(pixels(64, 64), "JPEG")
BAD_PICTURES = {
    "cut off": (NOISE[:len(NOISE) // 2], "truncated"),
    "cut off in its header": (NOISE[:20], ""),
    "a PNG that is cut off": (PICTURE[:200], "truncated|ended"),
    "empty": (b"", "wanted a JPEG or PNG, it begins with b''"),
    "a web page": (b"<!DOCTYPE html>", "wanted a JPEG or PNG, it begins with b'<!DOCTYP'"),
    "a GIF": (encoded(pixels(), "GIF"), "wanted a JPEG or PNG, it begins with b'GIF"),
    "a bomb": (png(20_000, 20_000), "wanted at most 67108864 pixels, it has 20000x20000"),
    "a larger bomb": (png(2**31 - 1, 2**31 - 1), "wanted at most"),
    "16 bits": (encoded(GREY.astype(np.uint16) * 256), "wanted 8 bits a channel"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", BAD_PICTURES)
def test_a_damaged_picture_is_named_once_and_left_out_of_its_batch(tmp_path, bad):
    content, why = BAD_PICTURES[bad]
    split = load_folder(put(tmp_path, {**PARTED, "val/bee/3.png": content}), 20).test
    place, = (i for i, name in enumerate(split.names) if name == "val/bee/3.png")
    whole = [i for i in range(split.n) if i != place]
    for _ in range(2):
        for (x, y), rows in zip(split.read([np.arange(15)[::-1]]), [whole[::-1]], strict=True):
            assert len(x) == 14 and np.array_equal(y, split.y[rows]) and x.max() <= 1
    (told,) = split.damaged
    assert told.startswith(f"{tmp_path}/val/bee/3.png: ") and "\n" not in told
    assert re.search(why, told)


def test_a_picture_that_was_taken_away_is_damaged(tmp_path):
    split = load_folder(put(tmp_path, PARTED), 20).test
    (tmp_path / split.names[3]).unlink()
    assert len(everything(split)[0]) == 14
    assert split.damaged[0].startswith(f"{tmp_path / split.names[3]}: ") and len(split.damaged) == 1


def test_the_pictures_that_are_left_keep_their_pixels_and_labels(tmp_path):
    files = {name: encoded(pixels()) for name in PARTED}
    split = load_folder(put(tmp_path, files), 20).train
    want, y = everything(split)
    for n in (0, 8, 9, 30):
        (tmp_path / split.names[n]).write_bytes(b"x")
    left = [n for n in range(split.n) if n not in (0, 8, 9, 30)]
    got, labels = everything(split)
    assert np.array_equal(got, want[left]) and np.array_equal(labels, y[left])
    assert len(split.damaged) == 4


def test_a_batch_of_damaged_pictures_alone_has_nothing_in_it_and_is_counted(tmp_path):
    split = load_folder(put(tmp_path, PARTED), 20).test
    for name in split.names[:5]:
        (tmp_path / name).write_bytes(b"x")
    sizes = [len(y) for _, y in split.read([np.arange(5), np.arange(3, 8), np.arange(10, 15)])]
    assert sizes == [0, 3, 5]


def test_a_split_of_damaged_pictures_alone_is_refused(tmp_path):
    split = load_folder(put(tmp_path, PARTED), 20).test
    for name in split.names:
        (tmp_path / name).write_bytes(b"x")
    with refused(f"{tmp_path}: not one of 15 pictures could be read", "wanted a JPEG or PNG"):
        everything(split)


# Ahead, and no further


class Counting(folder.Folder):
    """A folder that knows how many pictures were opened."""

    opened = 0

    def open(self, name):
        self.opened += 1
        return super().open(name)


def test_two_batches_are_decoded_ahead_and_no_more(tmp_path):
    split = load_folder(put(tmp_path, PARTED), 20, workers=1).train
    split.source = source = Counting(tmp_path)
    reading = split.read(in_order(split, 5))
    next(reading)
    deadline = time.monotonic() + 20
    while source.opened < 15 and time.monotonic() < deadline:
        time.sleep(0.01)                                    # that they are decoded unasked
    time.sleep(0.1)
    assert source.opened == 15
    reading.close()
    assert source.opened == 15


def test_whoever_stops_reading_leaves_no_thread_behind(tmp_path):
    split = load_folder(put(tmp_path, PARTED), 20).train
    reading = split.read(in_order(split, 5), KEY)
    next(reading)
    assert any("decoding" in thread.name for thread in threading.enumerate())
    reading.close()
    assert not any("decoding" in thread.name for thread in threading.enumerate())


def peak_bytes(split):
    """The most memory that reading a split once takes, in batches of 50."""
    tracemalloc.start()
    try:
        for _ in split.read(in_order(split, 50), KEY):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    size, picture = 32, encoded(pixels(32, 32), "JPEG")
    put(tmp_path, {f"{k}/{i}.jpg": picture for k in "ab" for i in range(1250)})
    split = load_folder(tmp_path, size).train
    assert split.n == 2000
    batch = 50 * size * size * 3 * 4
    few, many = peak_bytes(split.first(200)), peak_bytes(split)
    assert few > 3 * batch                                  # it does count the batches
    assert many < (folder.AHEAD + 3) * batch + 2**20 < split.n * batch / 50 / 4


# The real sets


def real(name, monkeypatch):
    """The path of an archive of real pictures."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("MINICREDIT_DATA") or beside)
    path = root / name / f"{name}.tar.xz"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set MINICREDIT_DATA to the folder that has {name}/")
    return path


@pytest.mark.data
def test_tiny_imagenet_20_has_its_7000_pictures_of_which_73_are_grey(monkeypatch):
    found = load_folder(real("tiny-imagenet-20", monkeypatch), 64)
    assert found.K == 20 and found.classes[0] == "n01443537" and found.classes[-1] == "n12267677"
    assert (found.train.n, found.validation.n, found.test.n) == (5400, 600, 1000)
    assert np.bincount(found.test.y).tolist() == [50] * 20
    grey = 0
    for split in (found.train, found.validation, found.test):
        for x, y in split.read(in_order(split, 100)):
            x = x.reshape(len(x), -1, 3)
            grey += int((x == x[:, :, :1]).all(axis=(1, 2)).sum())
            assert x.min() >= 0 and 0.5 < x.max() <= 1 and len(x) == 100
        assert not split.damaged
    names = found.train.names + found.validation.names
    counts = np.bincount([found.classes.index(Path(name).parent.name) for name in names])
    assert counts.tolist() == [300] * 20
    modes = [Image.open(found.train.source.open(name)).mode for name in names + found.test.names]
    assert modes.count("L") == 73 and modes.count("RGB") == 6927
    assert grey >= 73


@pytest.mark.data
def test_pictures_smaller_and_wider_than_the_square_become_it(monkeypatch):
    found = load_folder(real("imagenet-samples", monkeypatch), 224)
    assert found.K == 27 and (found.train.n, found.validation.n, found.test.n) == (23, 2, 2)
    sizes = set()
    for split in (found.train, found.validation, found.test):
        for name in split.names:
            with split.source.open(name) as file:
                sizes.add(Image.open(file).size)
        for key in (None, KEY):
            x, _ = everything(split, key)
            assert x.shape == (split.n, 224 * 224 * 3) and np.isfinite(x).all()
            assert (x.std(axis=1) > 0.05).all() and 0 <= x.min() and x.max() <= 1
        assert not split.damaged
    assert {(411, 120), (75, 56), (1600, 1200)} <= sizes
