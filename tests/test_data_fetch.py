"""Downloads against a server on the loopback address: what bad mirrors may not do."""
import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from data_server import serving
from minicredit import data
from minicredit.data import fetch, sets
from minicredit.errors import UserError

ONE, TWO = gzip.compress(os.urandom(100_000), mtime=0), b"labels"
FILES = {"one.gz": ONE, "two": TWO}
BAD = ["missing", "cut", "corrupt", "stall", "trickle", "head", "endless"]


@pytest.fixture
def server(monkeypatch):
    """A server, and a data set `tiny` of the two files it has."""
    downloads = {f: (hashlib.sha256(b).hexdigest(), len(b)) for f, b in FILES.items()}
    tiny = sets.SETS["mnist"]._replace(downloads=downloads, home="tiny", mirrors=())
    monkeypatch.setitem(sets.SETS, "tiny", tiny)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(FILES) as server:
        yield server


def get(folder, *mirrors, timeout=0.5):
    return fetch.get("tiny", mirrors, folder, timeout=timeout, progress=False)


def in_folder(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", ["good", "moved", "packed"])
def test_a_good_mirror_delivers_every_file(server, tmp_path, how):
    assert get(tmp_path, server.at(how), timeout=20) == tmp_path / "tiny"
    assert in_folder(tmp_path) == FILES


@pytest.mark.parametrize("how", BAD)
def test_after_a_bad_mirror_the_next_one_is_asked(server, tmp_path, capfd, how):
    get(tmp_path, server.at(how), server.at("good"), timeout=1)
    assert in_folder(tmp_path) == FILES
    said = capfd.readouterr().err.splitlines()
    assert said and all(line.startswith(f"mirror failed: {server.at(how)}") for line in said)


WHY = {"missing": "HTTP 404", "cut": "IncompleteRead", "corrupt": "sha256", "endless": "sends more",
       "stall": "timed out|stands still", "trickle": "stands still", "head": "stands still"}


@pytest.mark.parametrize("how", BAD)
def test_a_bad_mirror_alone_is_named_with_its_reason_and_leaves_no_file(server, tmp_path, how):
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        get(tmp_path, server.at(how))
    assert time.monotonic() - start < 5                 # ten times the limit: a busy machine
    sentence = str(error.value)
    assert "\n" not in sentence and server.at(how) + "one.gz" in sentence
    assert re.search(WHY[how], sentence)
    assert in_folder(tmp_path) == {}


def test_a_refused_connection_is_named_with_its_reason(server, tmp_path):
    with serving({}) as gone:
        address = gone.at("good")
    with pytest.raises(UserError, match="Connection refused"):
        get(tmp_path, address)
    get(tmp_path, address, server.at("good"), timeout=20)
    assert in_folder(tmp_path) == FILES


def test_without_mirrors_the_known_ones_are_asked_in_turn(server, tmp_path, monkeypatch):
    known = sets.SETS["tiny"]._replace(mirrors=(server.at("missing"), server.at("good")))
    monkeypatch.setitem(sets.SETS, "tiny", known)
    fetch.get("tiny", folder=tmp_path, timeout=20, progress=False)
    assert server.asked == ["/missing/one.gz", "/good/one.gz", "/missing/two", "/good/two"]


def test_every_mirror_that_failed_is_in_the_last_sentence(server, tmp_path):
    with pytest.raises(UserError) as error:
        get(tmp_path, server.at("missing"), server.at("corrupt"))
    assert all(server.at(how) in str(error.value) for how in ("missing", "corrupt"))


def test_a_file_that_is_there_and_right_is_not_fetched_again(server, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "one.gz").write_bytes(ONE)
    get(tmp_path, server.at("good"), timeout=20)
    assert server.asked == ["/good/two"]


def test_a_file_that_is_there_and_wrong_is_replaced_only_by_the_right_one(server, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "one.gz").write_bytes(b"wrong")
    with pytest.raises(UserError):
        get(tmp_path, server.at("cut"))
    assert in_folder(tmp_path) == {"one.gz": b"wrong"}
    get(tmp_path, server.at("good"), timeout=20)
    assert in_folder(tmp_path) == FILES


@pytest.fixture
def interruptible():
    """Python's own answer to SIGINT: a job that a shell put in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_the_wait_and_leaves_no_file(server, tmp_path, interruptible):
    interrupt = threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    interrupt.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        get(tmp_path, server.at("stall"), timeout=20)
    assert time.monotonic() - start < 5
    assert in_folder(tmp_path) == {}


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "tiny").write_text("a file, not a folder")
    with pytest.raises(UserError, match=f"{tmp_path / 'tiny'}: wanted a folder"):
        get(tmp_path, server.at("good"))
    (tmp_path / "other" / "tiny" / "one.gz").mkdir(parents=True)
    with pytest.raises(UserError, match="one.gz: cannot be written"):
        get(tmp_path / "other", server.at("good"))


def test_progress_is_drawn_on_standard_error_only(server, tmp_path, capfd):
    for _ in range(2):              # the second time the files are there, and their bars are full
        fetch.get("tiny", [server.at("good")], tmp_path, timeout=20, progress=True)
        out, err = capfd.readouterr()
        assert out == "" and "one.gz" in err and "6/6 bytes" in err


def test_silence_when_nothing_fails_and_no_progress_is_wanted(server, tmp_path, capfd):
    get(tmp_path, server.at("good"), timeout=20)
    assert capfd.readouterr() == ("", "")


def test_downloads_go_where_loading_looks_first(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MINICREDIT_DATA", str(tmp_path))
    assert data.get("tiny", [server.at("good")], progress=False, timeout=20) == tmp_path / "tiny"
    assert in_folder(tmp_path) == FILES


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_what_is_downloaded_is_what_loading_looks_for(name, tmp_path, monkeypatch):
    about = sets.SETS[name]
    (tmp_path / about.home).mkdir()
    for file in about.downloads:
        (tmp_path / about.home / file).touch()
    monkeypatch.setenv("MINICREDIT_DATA", str(tmp_path))
    found = sets.find(name)
    assert found is not None and found.is_relative_to(tmp_path)


def test_digits_need_no_download_and_an_unknown_set_is_refused():
    assert data.get("digits") == data.load("digits").path
    with pytest.raises(UserError, match="no data set is called 'emnist'; there are digits, mnist"):
        data.get("emnist")


def test_finding_what_is_on_the_disk_imports_no_downloader(tmp_path):
    (tmp_path / "mnist").mkdir()
    for file in sets.IDX:
        (tmp_path / "mnist" / file).touch()
    code = ("import sys; from minicredit.data import load, sets; load('digits'); "
            "print(sets.find('mnist'), {'pooch', 'rich', 'requests'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "MINICREDIT_DATA": str(tmp_path)})
    assert done.stdout == f"{tmp_path / 'mnist'} set()\n", done.stderr
