"""Canopy's own servers for the comparisons beside it, and how they run canopy-bench itself."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

DOMAIN = "company.com"
PASSWORD = "secret"
PATTERN = "user%05d@" + DOMAIN  # that LMTP delivers to
POP3_PATTERN = "pop%05d@" + DOMAIN  # that POP3 reads, so that they hold what was put into them and no more


def fail(sentence):
    sys.exit("canopy-bench compare: " + sentence)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, otherwise):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.05)
    fail(otherwise)


def wait_for_port(port, process, log):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
    text = open(log, errors="replace").read()[-2000:] if os.path.exists(log) else ""
    fail(f"nothing listens on port {port}\n{text}")


class Canopy:
    """canopyd and canopy-frontend from a build directory, or servers that run already."""

    name = "canopy"

    def __init__(self, directory, options):
        self.dir, self.options, self.processes = directory, options, []
        self.given = options.canopy_lmtp and options.canopy_pop3
        if self.given:
            return
        os.makedirs(directory)
        self.bin = options.canopy_bin or os.path.dirname(os.path.abspath(options.bench))
        self.socket = f"{directory}/wire.sock"
        self.lmtp_port, self.pop3_port = free_port(), free_port()
        for program in ("canopyd", "canopy-frontend"):
            if not os.path.exists(f"{self.bin}/{program}"):
                fail(f"{self.bin}/{program} is not there: build it, or give --canopy-lmtp and --canopy-pop3")
        with open(f"{directory}/frontend.toml", "w") as file:
            file.write(open(options.frontend_config).read() if options.frontend_config else FRONTEND_CONFIG)
        text = open(f"{directory}/frontend.toml").read()
        values = {"@BACKEND@": f"unix:{self.socket}", "@LMTP@": f"tcp:127.0.0.1:{self.lmtp_port}",
                  "@POP3@": f"tcp:127.0.0.1:{self.pop3_port}"}
        for key, value in values.items():
            text = text.replace(key, value)
        with open(f"{directory}/frontend.toml", "w") as file:
            file.write(text)
        self.created = False

    def start(self):
        if self.given:
            return
        backend_log, frontend_log = f"{self.dir}/canopyd.log", f"{self.dir}/frontend.log"
        self.processes.append(subprocess.Popen(
            [f"{self.bin}/canopyd", "--dir", f"{self.dir}/base", "--init", "--listen", f"unix:{self.socket}"],
            stdout=subprocess.DEVNULL, stderr=open(backend_log, "a")))
        for _ in range(200):
            if os.path.exists(self.socket) or self.processes[0].poll() is not None:
                break
            time.sleep(0.05)
        if not os.path.exists(self.socket):
            fail("canopyd did not start\n" + open(backend_log, errors="replace").read()[-2000:])
        if not self.created:
            bench(self.options, ["accounts", "--server", f"unix:{self.socket}", "--account-pattern", PATTERN,
                                 "--count", str(self.options.accounts), "--opens", "0"])
            if self.options.pop3_accounts:
                bench(self.options, ["accounts", "--server", f"unix:{self.socket}", "--account-pattern",
                                     POP3_PATTERN, "--count", str(self.options.pop3_accounts),
                                     "--password", PASSWORD, "--opens", "0", "--batch", "20"])
            self.created = True
        self.processes.append(subprocess.Popen(
            [f"{self.bin}/canopy-frontend", "--config", f"{self.dir}/frontend.toml"],
            stdout=subprocess.DEVNULL, stderr=open(frontend_log, "a")))
        wait_for_port(self.lmtp_port, self.processes[1], frontend_log)
        wait_for_port(self.pop3_port, self.processes[1], frontend_log)

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    def lmtp(self):
        return self.options.canopy_lmtp or f"tcp:127.0.0.1:{self.lmtp_port}"

    def pop3(self):
        return self.options.canopy_pop3 or f"tcp:127.0.0.1:{self.pop3_port}"

    def pids(self):
        return [process.pid for process in self.processes]


FRONTEND_CONFIG = """
[log]
level = "warning"

[backend]
addresses = ["@BACKEND@"]

[[listener]]
protocol = "lmtp"
address = "@LMTP@"

[[listener]]
protocol = "pop3"
address = "@POP3@"
plaintext_auth = true
"""


def bench(options, arguments):
    result = subprocess.run([options.bench, "--json", *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        fail(f"{' '.join(arguments)}\n{result.stderr.strip()}")
    report = json.loads(result.stdout)
    for note in report["notes"]:
        if "error" in note:
            print(f"  {arguments[0]}: {note}", file=sys.stderr)
    return report["rows"]
