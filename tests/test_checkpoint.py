"""Checkpoints: whole or refused, whatever becomes of the disk while they are written."""
import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from runs import CALLS, same, scratch, silent, watched

from minicredit import checkpoint, files
from minicredit.checkpoint import Checkpoint, Damaged
from minicredit.errors import UserError

EPOCH = {"epoch": 1, "seconds": 0.5, "train_loss": 0.25, "train_error": 1.0,
         "validation_error": 2.0, "test_error": 3.0, "angle_to_backprop": [60.0, float("nan")]}


def sample(done=7, seed=0):
    """A small checkpoint."""
    random = np.random.default_rng(seed)
    arrays = {"W[1]": random.standard_normal((2, 3), np.float32), "b[1]": np.zeros(3),
              "Wz": np.zeros((3, 0), np.float32), "n": np.array(3)}
    return Checkpoint({"format": 1, "rules": {"bp": {"eta": 0.1}}}, done, 0.25, [EPOCH],
                      {"t": done, "optimizer.scale": 0.1 + 0.2, "on": True}, arrays)


def told(held):
    """A checkpoint without its arrays, as text: NaN is not equal to itself."""
    return json.dumps(held[:-1])


def equal(one, other):
    """Whether two checkpoints hold the same."""
    return told(one) == told(other) and same((one.arrays, {}), (other.arrays, {}))


@pytest.fixture
def folder():
    with scratch() as path:
        yield path


def test_what_is_read_is_what_was_written(folder):
    held = sample()
    path = checkpoint.save(folder, held)
    assert path.name == "step-00000007.safetensors"
    assert equal(checkpoint.read(path, 1000), held)


def test_it_is_a_safetensors_file_that_others_can_read(folder):
    from safetensors.numpy import load_file
    held = sample()
    arrays = load_file(checkpoint.save(folder, held))
    assert same((arrays, {}), (held.arrays, {}))


def test_the_newest_two_are_kept(folder):
    before = None
    for done in (1, 2, 10, 100):
        before = checkpoint.save(folder, sample(done), before)
    assert [path.stem for path in checkpoint.paths(folder)] == ["step-00000100", "step-00000010"]


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "gone"])
def test_a_damaged_newest_is_passed_over_for_the_one_before_with_a_warning_that_names_both(
        harm, folder):
    old = checkpoint.save(folder, sample(1))
    new = checkpoint.save(folder, sample(2), old)
    data = bytearray(new.read_bytes())
    data[-3] ^= 1
    new.write_bytes({"cut": data[:-9], "flip": data, "empty": b"", "gone": b"\0" * len(data)}[harm])
    lines = []
    held, path = checkpoint.newest(folder, 1000, lines.append)
    assert path == old and equal(held, sample(1))
    assert len(lines) == 1 and str(old) in lines[0] and str(new) in lines[0]


def test_where_none_is_whole_none_is_taken(folder):
    old = checkpoint.save(folder, sample(1))
    new = checkpoint.save(folder, sample(2), old)
    for path in (old, new):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=f"{re.escape(str(new))}.*{re.escape(str(old))}"):
        checkpoint.newest(folder, 1000, silent)


def test_a_larger_file_than_can_be_is_not_read_whole(folder, monkeypatch):
    path = checkpoint.save(folder, sample())
    monkeypatch.setattr(checkpoint, "ROOM", 100)
    with pytest.raises(Damaged, match="at most 110 bytes"):
        checkpoint.read(path, 10)


def test_of_every_byte_that_is_flipped_none_is_loaded_wrong(folder):
    """Each bit of each byte: refused, or what was written."""
    held, path = sample(), folder / "some"
    data = checkpoint.packed(held)
    refused = 0
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            try:
                found = checkpoint.unpacked(bytes(changed), path)
            except Damaged as error:
                assert "\n" not in str(error) and str(path) in str(error)
                refused += 1
            else:
                assert equal(found, held), f"byte {place}, bit {bit}: something else was loaded"
    assert refused > 7 * len(data)


def test_of_every_length_that_is_cut_off_none_is_loaded():
    data = checkpoint.packed(sample())
    for length in range(len(data)):
        with pytest.raises(Damaged):
            checkpoint.unpacked(data[:length], Path("some"))


@pytest.mark.parametrize("change", [{"done": -1}, {"done": "7"}, {"epochs": [1]}, {"epochs": None},
                                    {"epochs": [{}]}, {"numbers": {"t": "x"}}, {"numbers": []},
                                    {"about": []}, {"spent": None}, {"spent": float("inf")}])
def test_a_file_with_the_right_checksum_and_wrong_types_is_refused(change):
    data = checkpoint.packed(sample()._replace(**change))
    with pytest.raises(Damaged, match="something else"):
        checkpoint.unpacked(data, Path("some"))


# Every call that changes the disk, failing --------------------------------------------------------

def broken(call, error):
    """How a call fails: with an error, before or after its work, or with half of it."""
    def fails(at):
        count = iter(range(10**6))

        def seen(name, plain, args):
            if next(count) != at:
                return plain()
            if call == "short":
                return os_write(args[0], args[1][:50]) if name == "write" else plain()
            if call == "after":
                plain()
            raise OSError(error, os.strerror(error))
        return seen
    os_write = os.write
    return fails


def calls_of_a_save():
    """How many calls one save makes, and which."""
    names = []
    with scratch() as folder:
        old = checkpoint.save(folder, sample(1))
        old = checkpoint.save(folder, sample(2), old)
        with watched(lambda name, plain, args: (names.append(name), plain())[1]):
            checkpoint.save(folder, sample(3), old)
    return names


@pytest.mark.parametrize("call, error", [("before", errno.ENOSPC), ("before", errno.EIO),
                                         ("after", errno.EIO), ("short", errno.ENOSPC)])
def test_after_any_call_that_fails_there_is_a_checkpoint_that_can_be_loaded(call, error):
    """Open, write, fsync, rename, ...: each in turn; and what is there has no other's name."""
    names = calls_of_a_save()
    assert {"open", "write", "fsync", "close", "replace", "unlink"} <= set(names) <= set(CALLS)
    for at in range(len(names)):
        with scratch() as folder:
            checkpoint.save(folder, sample(1))
            old = checkpoint.save(folder, sample(2), checkpoint.paths(folder)[0])
            try:
                with watched(broken(call, error)(at)):
                    checkpoint.save(folder, sample(3), old)
            except OSError as failed:
                assert failed.errno == error
            lines = []
            held, path = checkpoint.newest(folder, 1000, lines.append)
            assert equal(held, sample(held.done)) and held.done in (2, 3) and not lines, names[at]
            assert held.done == 3 or call != "short"
            for whole in checkpoint.paths(folder):
                assert equal(checkpoint.read(whole, 1000), sample(int(whole.stem[-8:])))


class PowerCut(BaseException):
    """The machine stops here."""


def after_a_power_cut(at):
    """Save, and stop at call number `at`; every byte that was not synced is lost.

    Returns
    -------
    list of states that the disk may be in: with the names that were changed since the folder was
    last synced, and without them
    """
    with scratch() as folder:
        old = checkpoint.save(folder, sample(1))
        old = checkpoint.save(folder, sample(2), old)
        disk = {path.name: path.read_bytes() for path in folder.iterdir()}
        inodes, files_of, synced, names, count = {}, {}, {}, dict(disk), iter(range(10**6))

        def seen(name, plain, args):
            if next(count) == at:
                raise PowerCut
            result = plain()
            if name == "open":
                files_of[result] = Path(args[0])
                if args[1] & os.O_CREAT:
                    names[Path(args[0]).name] = b""
            elif name == "fsync":
                path = files_of[args[0]]
                if path == folder:
                    disk.clear()
                    disk.update(names)
                else:
                    names[path.name] = path.read_bytes()
            elif name == "replace":
                names[Path(args[1]).name] = names.pop(Path(args[0]).name)
            elif name == "unlink":
                names.pop(Path(args[0]).name, None)
            return result

        try:
            with watched(seen):
                checkpoint.save(folder, sample(3), old)
        except PowerCut:
            pass
        return dict(disk), dict(names)


def test_after_a_power_cut_at_any_call_there_is_a_checkpoint_that_can_be_loaded():
    """Whether or not the names that were changed last had reached the disk."""
    for at in range(len(calls_of_a_save()) + 1):
        for state in after_a_power_cut(at):
            with scratch() as folder:
                for name, data in state.items():
                    (folder / name).write_bytes(data)
                lines = []
                held, _ = checkpoint.newest(folder, 1000, lines.append)
                assert equal(held, sample(held.done)) and held.done in (2, 3)
                assert not lines, f"call {at}: {lines}"


def test_bytes_are_written_until_all_are(folder, monkeypatch):
    plain = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: plain(descriptor, data[:7]))
    files.put(folder / "some", bytes(range(100)))
    assert (folder / "some").read_bytes() == bytes(range(100))
    assert [path.name for path in folder.iterdir()] == ["some"]
