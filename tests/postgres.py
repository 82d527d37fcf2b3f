"""A PostgreSQL server of one's own, in a temporary folder, for as long as a `with` lasts.

    with server() as url:           postgresql://minicredit@127.0.0.1:PORT/postgres

Its programs refuse to run as root: then they run as `nobody`.
"""
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

SECONDS = 120


def programs():
    """The folder with pg_ctl and initdb; None where there is none."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def why_not():
    """Why there can be no server here; empty where there can."""
    if programs() is None:
        return "no PostgreSQL server on this machine (pg_ctl, initdb)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "no driver for PostgreSQL (pip install 'minicredit[search]')"
    return ""


def run(program, *words):
    """One of the server's programs, not as root."""
    who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    log = subprocess.DEVNULL                        # a pipe would be inherited by the server
    subprocess.run([programs() / program, *map(str, words)], check=True, timeout=SECONDS, cwd="/",
                   stdin=log, stdout=log, stderr=log, **who)


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def server():
    """A server that runs; its URL."""
    folder = Path(tempfile.mkdtemp(prefix="minicredit-postgres-"))
    data, port = folder / "data", free_port()
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        run("initdb", "-D", data, "-U", "minicredit", "-A", "trust", "--no-sync", "-E", "UTF8")
        run("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o",
            f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off", "start")
        try:
            yield f"postgresql://minicredit@127.0.0.1:{port}/postgres"
        finally:
            stop(data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end(url):
    """End the server that a URL of `server` names; the `with` goes on without it."""
    import psycopg
    with psycopg.connect(url) as connection:
        data, = connection.execute("show data_directory").fetchone()
    stop(Path(data))


def stop(data):
    """End a server at once, if it runs."""
    if (data / "postmaster.pid").exists():
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
