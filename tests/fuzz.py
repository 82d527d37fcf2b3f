"""Damaged files, by the thousand, for every reader: python tests/fuzz.py [INPUTS] [SEED].

A few good files of each kind are changed: bits are flipped, ends cut off, pieces repeated, lost,
overwritten with numbers that readers trip over, or joined with pieces of another file; half of the
packed ones are changed before they are packed, so that what is inside is damaged and not the
packing.  A reader may answer with data or with one sentence (a UserError), within SECONDS, and the
whole process stays below MEMORY.
"""
import faulthandler
import gzip
import io
import json
import lzma
import os
import pickle
import random
import re
import resource
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from runs import scratch

from minicredit import checkpoint, create, keeper, reproduce, results, state
from minicredit.checkpoint import Checkpoint
from minicredit.data import cifar, idx, pickles
from minicredit.data.folder import load_folder
from minicredit.errors import UserError
from minicredit.rules import Backprop

SECONDS = 5.0
MEMORY = 2**30                      # bytes, resident, of the whole process
N = 2                               # images in a batch of CIFAR-10
ODD = [0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
PACK = bytes, gzip.compress, lzma.compress
ODD_TEXT = (b"null", b"NaN", b"-1", b"1e999", b"[]", b"{}", b'""', b"true", b'"\\ud800"', b"[[[[",
            b"../", b"\0", b"9" * 5000, b"\xff\xfe", b"=", b'"""')


# What is read -------------------------------------------------------------------------------------

def idx_files():
    """Images and labels."""
    images = b"\0\0\x08\x03" + np.array([3, 4, 5], ">u4").tobytes() + bytes(range(60))
    labels = b"\0\0\x08\x01" + np.array([3], ">u4").tobytes() + bytes([0, 9, 1])
    return [images, labels]


def read_idx(data, folder, draw):
    """As images, and as labels."""
    path = folder / "idx"
    path.write_bytes(data)
    idx.read(path, draw.choice((1, 3)))


def batch(n):
    """Pixels and labels of a batch."""
    random = np.random.default_rng(n)
    return random.integers(0, 256, (N, 3072), dtype=np.uint8), [int(k) for k in range(N)]


def binary_batches():
    """A batch in the binary version."""
    x, y = batch(0)
    return [b"".join(bytes([k]) + row.tobytes() for row, k in zip(x, y))]


def read_binary(data, folder, draw):
    """One batch, plain or packed."""
    path = folder / "data_batch_1.bin"
    path.write_bytes(data)
    cifar.batch(cifar.streams.first(path, N * cifar.RECORD + 1), path, N)


def pickled_batches():
    """A batch in the Python version, by several protocols."""
    x, y = batch(1)
    entries = {b"data": x, b"labels": y, b"batch_label": b"training batch 1 of 5"}
    texts = {key.decode(): value for key, value in entries.items()}
    return [pickle.dumps(entries, protocol) for protocol in (2, 3)] + [pickle.dumps(texts, 4)]


def read_pickle(data, folder, draw):
    """One batch."""
    pickles.batch(data, folder / "data_batch_1", N)


def tar(files, kind=tarfile.PAX_FORMAT):
    """{name: bytes} as an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def cifar_archives():
    """CIFAR-10 as an archive, binary and pickled."""
    names = list(cifar.MEMBERS)
    return [tar({name: binary_batches()[0] for name in names[:6]}),
            tar({name: pickled_batches()[0] for name in names[6:]}, tarfile.GNU_FORMAT)]


def read_archive(data, folder, draw):
    """The published archive."""
    path = folder / "cifar"
    path.write_bytes(data)
    cifar.read(path, N)


def pictures():
    """JPEG and PNG in several modes."""
    made, random = [], np.random.default_rng(0)
    for mode, kind in (("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "PNG"), ("P", "PNG"), ("LA", "PNG")):
        for options in ({}, {"progressive": True}) if kind == "JPEG" else ({},):
            out = io.BytesIO()
            pixels = random.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).convert(mode).save(out, kind, **options)
            made.append(out.getvalue())
    return made


GOOD = pictures()


def read_folder(data, folder, draw):
    """A folder of two classes, of whose pictures one is damaged."""
    if not (folder / "a").exists():
        for name in ("a", "b"):
            (folder / name).mkdir()
            for i in range(3):
                (folder / name / f"{i}.png").write_bytes(GOOD[2])
    (folder / "a" / "0.png").write_bytes(data)
    splits = load_folder(folder, 16, workers=1)
    for split in (splits.train, splits.validation, splits.test):
        for x, y in split.read([np.arange(split.n)], (0, 3, 0, 1)):
            assert np.isfinite(x).all() and len(x) == len(y)


def picture_archives():
    """A folder of pictures as an archive."""
    files = {f"{name}/{i}.png": GOOD[(i + 2) % 5] for name in "ab" for i in range(3)}
    return [tar(files), tar({"a" * 120 + "/" + name: data for name, data in files.items()},
                            tarfile.GNU_FORMAT)]


def read_pictures(data, folder, draw):
    """The archive, every picture of it."""
    path = folder / "pictures"
    path.write_bytes(data)
    splits = load_folder(path, 16, workers=1)
    for split in (splits.train, splits.validation, splits.test):
        list(split.read([np.arange(split.n)]))


def tables():
    """The experiments that come with the package."""
    return [path.read_bytes() for path in sorted(reproduce.ROWS.glob("*.toml"))]


def read_table(data, folder, draw):
    """The table, and the command of its first row."""
    from minicredit.arguments import configuration, parser
    table = reproduce.parsed(data, folder / "table.toml")
    for row in [*table["rows"]][:1]:
        words = reproduce.words(table, row, ["--data", "digits"])
        configuration(parser().parse_args(words), "minicredit")


def checkpoints():
    """A small checkpoint."""
    epoch = {"epoch": 1, "seconds": 0.5, "train_loss": 0.25, "train_error": 1.0,
             "validation_error": 2.0, "test_error": 3.0, "angle_to_backprop": [60.0, 0.0]}
    arrays, numbers = state.copied(Backprop(create((3, 4))))
    arrays["W[1]"][...] = 1
    return [checkpoint.packed(Checkpoint({"format": 1}, done, 0.5, [epoch],
                                         {**numbers, "optimizer.eta": float(done)}, arrays))
            for done in (1, 2)]


def read_checkpoint(data, folder, draw):
    """The newest of two, of which the older one is whole."""
    old, new = folder / "step-00000001.safetensors", folder / "step-00000002.safetensors"
    if not old.exists():
        old.write_bytes(checkpoints()[0])
    new.write_bytes(data)
    found, path = checkpoint.newest(folder, 10_000, lambda text: None)
    assert (found.arrays["W[1]"] == 1).all() and found.numbers["optimizer.eta"] == found.done


def texts_of_checkpoints():
    """What a checkpoint says of itself."""
    from safetensors import safe_open
    made = []
    for data in checkpoints():
        with scratch() as folder:
            (folder / "some").write_bytes(data)
            with safe_open(folder / "some", "numpy") as file:
                made.append(file.metadata()["minicredit"].encode())
    return made


def read_text(data, folder, draw):
    """The text in a checkpoint whose checksum is right, as somebody might make one."""
    from safetensors.numpy import save
    arrays, text = {"W[1]": np.ones((3, 4), np.float32)}, data.decode("utf-8", "replace")
    packed = save(arrays, {"minicredit": text, "sha256": checkpoint.digest(arrays, text)})
    found = checkpoint.unpacked(packed, folder / "some")
    rule = Backprop(create((3, 4)))
    keeper.refuse_other(folder / "some", found.about, {"format": 1}, lambda line: None)
    state.restore(rule, {**found.arrays, "b[1]": np.zeros(4, np.float32)}, found.numbers)


def json_results():
    """What a comparison leaves."""
    epochs = [{"epoch": k, "test_error": 4.0, "validation_error": 9.0, "train_loss": 0.1,
               "train_error": 2.0, "seconds": 2.0, "angle_to_backprop": [12.4, None]}
              for k in (1, 2)]
    run = {"rule": "bp", "seed": 0, "epochs": epochs, "best_epoch": 2, "test_error": 5.0,
           "train_error": 1.0, "peak_memory_bytes": 3 * 2**20, "sizes": [64, 10]}
    failed = {"rule": "bp", "seed": 1, "epochs": epochs[:1], "failed": "not finite"}
    config = {"epochs": 2, "rules": {"bp": {"eta": 0.1}}, "net": "64-10", "data": "digits"}
    whole = {"config": config, "versions": {"numpy": "2"}, "runs": [run, {**run, "seed": 1}]}
    return [json.dumps(found, indent=2).encode() for found in (whole, {**whole, "runs": [failed]})]


def read_results(data, folder, draw):
    """As a row of a table, which shows what it says."""
    (folder / "row").mkdir(exist_ok=True)
    (folder / "row" / "results.json").write_bytes(data)
    reproduce.finished(folder / "row", {"epochs": 2})
    spec = {"rule": "bp", "options": "--eta 1"}
    line = reproduce.measured("row", spec, folder / "row")
    reproduce.markdown([line], reproduce.COLUMNS)
    reproduce.together({"rows": {"row": spec}}, folder)
    results.read(folder / "row" / "results.json")


READERS = {                         # name: good files, reader, whether it is text, whether packed
    "IDX": (idx_files, read_idx, False, True),
    "CIFAR-10, binary": (binary_batches, read_binary, False, True),
    "CIFAR-10, pickled": (pickled_batches, read_pickle, False, False),
    "CIFAR-10, tar": (cifar_archives, read_archive, False, True),
    "JPEG and PNG": (lambda: GOOD, read_folder, False, False),
    "pictures, tar": (picture_archives, read_pictures, False, True),
    "experiments, TOML": (tables, read_table, True, False),
    "checkpoints": (checkpoints, read_checkpoint, False, False),
    "checkpoints, text": (texts_of_checkpoints, read_text, True, False),
    "results.json": (json_results, read_results, True, False),
}


# How it is damaged --------------------------------------------------------------------------------

def changed(data, good, draw, text):
    """A good file, changed in one to four ways."""
    if text and draw.random() < 0.6:
        return rewritten(data, draw)
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        if data:
            damage(data, good, draw, text)
    return bytes(data)


def rewritten(data, draw):
    """A text of which one to three values are others: odd ones, or from another place in it."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        places = list(re.finditer(rb'"[^"\n]*"|-?\d[\d.e-]*|\[[^][]*\]|[{][^{}]*[}]', data))
        if places:
            at, other = draw.choice(places), draw.choice(places)
            value = draw.choice([*ODD_TEXT, other[0], other[0]])
            data = data[:at.start()] + value + data[at.end():]
    return data


def damage(data, good, draw, text):
    """One change, in place."""
    at, how = draw.randrange(len(data)), draw.randrange(9)
    if draw.random() < 0.4:                                 # headers stand at the front
        at = draw.randrange(min(len(data), 600))
    end = min(len(data), at + draw.choice((1, 4, 30, 512)))
    if how == 0:
        data[at] ^= 1 << draw.randrange(8)
    elif how == 1:
        del data[at:]
    elif how == 2:
        del data[at:end]
    elif how == 3:
        data[at:at] = data[at:end] * draw.choice((1, 2, 50))
    elif how == 4:
        data[at:end] = draw.randbytes(end - at)
    elif how == 5:
        other = draw.choice(good)
        start = draw.randrange(len(other))
        data[at:end] = other[start:start + end - at]
    elif how == 6:
        size = draw.choice((1, 2, 4, 8))
        odd = draw.choice(ODD) % 256**size
        data[at:at + size] = odd.to_bytes(size, draw.choice(("big", "little")))
    elif how == 7:
        data[at:end] = bytes([draw.choice((0, 255, 0x2e, 0x37))]) * (end - at)
    elif text:
        data[at:end] = draw.choice(ODD_TEXT)
    else:
        octal = b"%011o\0" % draw.choice(ODD[:11])          # as tar writes numbers
        data[at:at + 12] = octal


def one(name, draw, good, folder):
    """One damaged file for one reader; what came of it: "data", "refused", or what is wrong."""
    _, reader, text, packed = READERS[name]
    data = draw.choice(good)
    if packed:
        pack = draw.choice(PACK)
        inside = draw.random() < 0.5
        data = pack(changed(data, good, draw, text)) if inside else \
            changed(pack(data), good, draw, text)
    else:
        data = changed(data, good, draw, text)
    start = time.perf_counter()
    try:
        reader(data, folder, draw)
        came = "data"
    except UserError as error:
        came = "refused" if "\n" not in str(error) else f"two lines: {error}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        came = f"{type(error).__name__}: {error}"
    took = time.perf_counter() - start
    return came if took < SECONDS else f"took {took:.1f} s, {came}", took, data


def fuzz(inputs, seed, names=READERS, told=print, memory=MEMORY):
    """Damaged files for every reader in turn; what was wrong, a list of texts.

    Parameters
    ----------
    inputs : int, of all readers together
    seed : int
    told : function of a line
    memory : int
        Bytes that this process may have held, whatever else it did.
    """
    wrong = []
    for name in names:
        draw, came, longest, start = random.Random(f"{name} {seed}"), Counter(), 0.0, time.time()
        good = READERS[name][0]()
        with scratch() as folder:
            for number in range(-(-inputs // len(names))):
                faulthandler.dump_traceback_later(60, exit=True)        # it would never come back
                what, took, data = one(name, draw, good, folder)
                longest = max(longest, took)
                came[what if what in ("data", "refused") else "wrong"] += 1
                if what not in ("data", "refused"):
                    wrong.append(f"{name}, seed {seed}, input {number}: {what}")
                    keep(name, number, data)
        faulthandler.cancel_dump_traceback_later()
        peak = most()
        told(f"{name:18} {sum(came.values()):7} inputs: {came['refused']} refused, {came['data']} "
             f"gave data, {came['wrong']} wrong; the longest took {longest:.2f} s; up to now "
             f"{peak / 2**20:.0f} MiB; {time.time() - start:.0f} s")
        if peak > memory:
            wrong.append(f"{name}: {peak:,} bytes of memory")
    return wrong


def most():
    """Bytes of memory that this process has held at most.

    Not ru_maxrss where the system says better: that one counts what a parent held before it began
    this program.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
            1 if sys.platform == "darwin" else 1024)
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def keep(name, number, data):
    """A file that was read wrongly, where MINICREDIT_FUZZ_KEEP says."""
    if folder := os.environ.get("MINICREDIT_FUZZ_KEEP"):
        (Path(folder) / f"{name.replace(' ', '-')}-{number}").write_bytes(data)


def main():
    """See this module."""
    inputs, seed = [int(word) for word in [*sys.argv[1:], *["100000", "0"][len(sys.argv) - 1:]]]
    wrong = fuzz(inputs, seed, told=lambda line: print(line, flush=True))
    print("\n".join(wrong[:20]) or "nothing wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
