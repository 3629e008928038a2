# SPDX-License-Identifier: Apache-2.0
"""A fleet file with certificates, a fake daemon and a fake Prometheus, for the tests of the fleet."""
import contextlib
import http.server
import json
import os
import pathlib
import pty
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import urllib.parse

from daemon_site import CTL, Authority

UPDATE = bool(os.environ.get("VMSRS_UPDATE_GOLDEN"))
GOLDEN = pathlib.Path(__file__).parent / "golden" / "fleet"


class Folder:
    """A folder with an authority, the certificate of this host and that of the operator."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="vmsrs-fleet-"))
        self.authority = Authority(self.path)
        self.authority.certify("host", "localhost", "DNS:localhost,IP:127.0.0.1")
        self.authority.certify("operator", "control.example")
        self.authority.certify("prometheus", "prometheus")

    def remove(self):
        shutil.rmtree(self.path)

    def write_fleet(self, hosts, **more):
        """`hosts`: of each the name, the port and its labels."""
        document = {
            "defaults": {"certificate": f"{self.path}/operator.pem", "key": f"{self.path}/operator.key",
                         "ca": f"{self.path}/ca.pem"},
            "hosts": [{"name": name, "address": f"localhost:{port}", "labels": labels}
                      for name, port, labels in hosts],
            **more}
        (self.path / "fleet.yaml").write_text(json.dumps(document, indent=1))

    def environment(self, more=None):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("VMSRS_")}
        return {**clean, "HOME": str(self.path), "VMSRS_FLEET": str(self.path / "fleet.yaml"), **(more or {})}

    def ctl(self, *words, timeout=120, environment=None):
        return subprocess.run([CTL, *words], capture_output=True, text=True, timeout=timeout,
                              check=False, stdin=subprocess.DEVNULL, env=self.environment(environment))

    def ctl_on_terminal(self, *words, environment=None):
        """What it prints on a terminal, without carriage returns."""
        ours, theirs = pty.openpty()
        with subprocess.Popen([CTL, *words], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                              env=self.environment({"TERM": "xterm", **(environment or {})})):
            os.close(theirs)
            text = b""
            with contextlib.suppress(OSError):  # the end of a terminal
                while piece := os.read(ours, 65536):
                    text += piece
        os.close(ours)
        return text.decode().replace("\r", "")

    def expect(self, test, name, done):
        """The output is the golden one, with ports and this folder replaced."""
        text = (done.stdout + "--- stderr, exit code " + str(done.returncode) + "\n" + done.stderr)
        # How long the folder's name is decides how wide a column is.
        text = re.sub(re.escape(str(self.path)) + r"(\S*)  +", r"FOLDER\1  ", text)
        text = re.sub(r"(CERTIFICATE|KEY) +", r"\1  ", text.replace(str(self.path), "FOLDER"))
        for port, word in self.ports.items():
            text = text.replace(f"localhost:{port}", f"localhost:{word}")
        file = GOLDEN / name
        if UPDATE:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        test.maxDiff = None
        test.assertEqual(text, file.read_text(), name)

    ports = {}


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with what `server.answer(method, path, body)` returns: status and text."""

    def reply(self):
        length = int(self.headers.get("Content-Length") or 0)
        status, text = self.server.answer(self.command, self.path, self.rfile.read(length).decode())
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = reply

    def log_message(self, *_):
        pass


class FakeServer:
    """A server of this process; over TLS with a client's certificate if a folder is given."""

    def __init__(self, answer, folder=None, certificate="host"):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.server.answer = answer
        self.port = self.server.server_address[1]
        if folder:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
            context.load_verify_locations(folder / "ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def vector(figures):
    """An answer of Prometheus to a query of figures: of each the labels and values."""
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {**labels, "figure": figure}, "value": [1700000000, str(value)]}
        for figure, samples in figures.items() for labels, value in samples]}})


def query_in(body):
    return urllib.parse.parse_qs(body)["query"][0]
