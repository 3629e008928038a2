# SPDX-License-Identifier: Apache-2.0
"""vmsrsd above the monitor in a folder of its own, and clients of it, for the tests in Python."""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

DAEMON = os.environ["VMSRSD_ON_MONITOR"]
CTL = os.environ["VMSRSCTL"]
NOBODY = 65534
HASH = "a" * 64


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def eventually(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    return condition()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("vmsrsd", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(connection, method, path, body=None, headers=None):
    """Status, headers and document of one request."""
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        text = answer.read()
    is_json = answer.headers.get_content_type() == "application/json"
    return answer.status, answer.headers, json.loads(text) if is_json else text.decode()


class Site:
    """A daemon with `config` beside what every one needs; stopped at the end."""

    def __init__(self, config=None, environment=None, command=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmsrs-ops-"))
        self.folder.chmod(0o755)  # other accounts come as far as the sockets
        self.socket = self.folder / "api.sock"
        self.read_only = self.folder / "api-read-only.sock"
        self.metrics_port = free_port()
        self.config = {
            "management": {"secret_file": str(self.folder / "secret")},
            "metrics": {"listen": f"127.0.0.1:{self.metrics_port}"},
            "api": {"socket": str(self.socket)},
            "scrub": {"rate": 0},
            "events": {"store": str(self.folder / "events.db")},
            "servers": [{"name": "shop", "attach_secret_sha256": HASH}],
        }
        for section, values in (config or {}).items():
            self.config[section] = {**self.config.get(section, {}), **values}
        (self.folder / "secret").write_text("1" * 64)
        self.environment = {**os.environ, **(environment or {})}
        self.command = list(command)

    def write_config(self):
        (self.folder / "vmsrs.yaml").write_text(json.dumps(self.config))

    def __enter__(self):
        self.write_config()
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [*self.command, DAEMON, "--config", self.folder / "vmsrs.yaml"],
            stderr=self.log, env=self.environment)
        if not self.command and not eventually(self.answers):
            self.stop()
            raise RuntimeError("vmsrsd does not answer: " + self.log_text())
        return self

    def __exit__(self, *exception):
        self.stop()
        shutil.rmtree(self.folder)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def answers(self):
        """All listeners are there: that of the API's socket is not the last."""
        tells = self.config.get("log", {}).get("level", "info") in ("trace", "debug", "info")
        try:
            return self.get("/v1/version")[0] == 200 and (not tells or " serves " in self.log_text())
        except OSError:
            return False

    def reload(self, said="again: "):
        before = self.log_text().count(said)
        self.write_config()
        self.process.send_signal(signal.SIGHUP)
        if not eventually(lambda: self.log_text().count(said) > before):
            raise RuntimeError(f"no {said!r} in the log: " + self.log_text())

    def log_text(self):
        return (self.folder / "log").read_text()

    def get(self, path, timeout=10, where=None):
        return ask(UnixConnection(where or self.socket, timeout), "GET", path)

    def post(self, path, document=None, where=None):
        body = None if document is None else json.dumps(document)
        return ask(UnixConnection(where or self.socket), "POST", path, body)

    def metrics(self, timeout=10):
        return ask(http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=timeout),
                   "GET", "/metrics")

    def raw(self, where=None):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(10)
        one.connect(str(where or self.socket))
        return one

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ctl(self, *words, account=None, environment=None, socket_path=None):
        where = ["--socket", socket_path or self.socket] if socket_path != "" else []
        demote = {} if account is None else {"user": account, "group": account, "extra_groups": []}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("VMSRS_")}
        program = CTL
        if account is not None:  # the build may lie where only root comes
            program = shutil.copy(CTL, self.folder / "vmsrsctl")
        return subprocess.run([program, *where, *words], capture_output=True, text=True, timeout=30,
                              check=False, env={**clean, "HOME": str(self.folder),
                                                **(environment or {})}, **demote)


def received(one):
    """All that comes until the other end closes."""
    text = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while part := one.recv(65536):
            text += part
    return text


class Authority:
    """A certificate authority with certificates of a host and of clients, made by openssl."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-days", "30", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def certify(self, name, common_name, alternative=None, days=20):
        """NAME.pem and NAME.key in the folder."""
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={common_name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        extension = self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={alternative}\n" if alternative else "")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-days", str(days), "-extfile", extension.name,
                     "-out", f"{name}.pem")
        for end in ("pem", "key"):
            (self.folder / f"{name}.{end}").chmod(0o644)

    def context(self, client=None, ca="ca.pem"):
        context = ssl.create_default_context(cafile=str(self.folder / ca))
        if client:
            context.load_cert_chain(self.folder / f"{client}.pem", self.folder / f"{client}.key")
        return context
