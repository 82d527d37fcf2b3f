"""A file server on 127.0.0.1 that misbehaves as told: http://127.0.0.1:PORT/HOW/FILE.

    good        the file                            missing     404
    cut         half of it, then hangs up           corrupt     all of it, one bit wrong
    stall       the headers, then nothing           trickle     a byte now and then, for ever
    head        a header a byte now and then        endless     more and more
    packed      the file, labelled Content-Encoding: gzip
    moved       a redirect to good
"""
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAUSE = 0.1         # seconds between two bytes; less than any time limit a test sets
OVER = 15           # seconds after which even a stalling server hangs up: a test fails, not hangs


class Handler(BaseHTTPRequestHandler):
    """Answers GET /HOW/FILE; `server.files` is {FILE: bytes}, `server.asked` the paths so far."""

    def do_GET(self):
        how, file = self.path.strip("/").split("/")
        self.server.asked.append(self.path)
        try:
            getattr(self, how)(self.server.files[file], file)
        except OSError:
            pass                    # the other side hung up, as it should

    def begin(self, status, size, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def good(self, data, file):
        self.begin(200, len(data))
        self.wfile.write(data)

    def packed(self, data, file):
        self.begin(200, len(data), Content_Encoding="gzip")
        self.wfile.write(data)

    def moved(self, data, file):
        self.begin(302, 0, Location=f"/good/{file}")

    def missing(self, data, file):
        self.begin(404, 0)

    def cut(self, data, file):
        self.begin(200, len(data))
        self.wfile.write(data[:len(data) // 2])

    def corrupt(self, data, file):
        self.begin(200, len(data))
        self.wfile.write(data[:-1] + bytes([data[-1] ^ 1]))

    def stall(self, data, file):
        self.begin(200, len(data))
        self.server.over.wait()

    def trickle(self, data, file):
        self.begin(200, len(data))
        for k in range(len(data)):
            if self.server.over.wait(PAUSE):
                return
            self.wfile.write(data[k:k + 1])

    def head(self, data, file):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        while not self.server.over.wait(PAUSE):
            self.wfile.write(b"x")

    def endless(self, data, file):
        self.send_response(200)
        self.end_headers()
        while not self.server.over.is_set():
            self.wfile.write(bytes(2**16))
            time.sleep(0.001)

    def log_message(self, *_):
        pass


@contextmanager
def serving(files):
    """The server, running; `.at(HOW)` is the address of a mirror that behaves so."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, server.over = files, [], threading.Event()
    server.daemon_threads = True
    server.at = f"http://127.0.0.1:{server.server_port}/{{}}/".format
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    over = threading.Timer(OVER, server.over.set)
    over.start()
    try:
        yield server
    finally:
        over.cancel()
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
