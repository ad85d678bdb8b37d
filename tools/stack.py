#!/usr/bin/env python3
"""Starts canopyd and canopy-frontend on a local directory and keeps them running: what `tools/dev run` ends in.

Both are children that die with this process, however it ends. One that ends by itself is started again; after five ends
within ten seconds this gives up. Everything is kept in one directory:
  base/            the tree that canopyd serves      pki/            a CA and certificates of its own
  frontend.toml    written anew at every start       accounts.json   the first accounts' passwords, for their owner only
  logs/            of both programs                  canopyd.sock    where canopyctl connects
With --over-nfs 3 or 4 the tree lies on an NFS server instead (nfs-ganesha; needs root), whose files are in nfs/export.
"""
import argparse
import ctypes
import errno
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time

import ganesha

DOMAIN = "company.com"
NAMES = ("jsmith", "albert")
READY_SECONDS = 60
RESTARTS_MAX, RESTARTS_SECONDS = 5, 10
PR_SET_PDEATHSIG = 1


class StackError(Exception):
    """What went wrong, in a sentence for the user."""


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/dev run",
        description="Start canopyd and canopy-frontend (LMTP, POP3 with STLS, POP3S) on a local directory, with the "
        f"domain {DOMAIN} and two accounts the first time; run until Ctrl-C.")
    parser.add_argument("--dir", default="build/run", help="where everything is kept (default: build/run)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready instead of prose")
    parser.add_argument("--mount", metavar="DIR", help="show the tree as files on this directory, too")
    parser.add_argument("--port-base", type=int, default=8024, metavar="N",
                        help="LMTP on N, POP3 on N+1, POP3S on N+2, the wire protocol on N+3 (default: 8024)")
    parser.add_argument("--over-nfs", type=int, choices=(3, 4), metavar="VERSION",
                        help="keep the tree on an NFS server of its own (nfs-ganesha), spoken to in this version; needs root")
    parser.add_argument("--bin", default="build/release/bin", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not 1 <= given.port_base <= 65532:
        parser.error("--port-base: a number from 1 to 65532")
    reason = given.over_nfs and ganesha.why_unavailable()
    if reason:
        parser.error(f"--over-nfs: {reason}")
    return given


def private(path):
    """An opener for a file that only its owner may read."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def replace_file(path, text):
    with open(private(path + ".new"), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Service:
    """One program that is kept running."""

    def __init__(self, name, command, log):
        self.name, self.command, self.log = name, command, log
        self.process, self.ends = None, []

    def start(self):
        log = open(self.log, "ab")
        # A session of its own, so that Ctrl-C reaches this process only, which ends both in order.
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                        start_new_session=True, preexec_fn=die_with_parent)
        log.close()
        line = self.process.stdout.readline()  # the programs print one line, when they are ready
        if not line:
            status = self.process.wait()
            with open(self.log, "rb") as file:
                last = file.read()[-2000:].decode(errors="replace").strip()
            raise StackError(f"{self.name} ended at its start with status {status}; {self.log} ends:\n{last}")

    def ended(self):
        return self.process.poll() is not None

    def restart(self):
        now = time.monotonic()
        self.ends = [end for end in self.ends if now - end < RESTARTS_SECONDS] + [now]
        if len(self.ends) >= RESTARTS_MAX:
            raise StackError(f"{self.name} keeps ending (status {self.process.returncode}); see {self.log}")
        print(f"{self.name} ended with status {self.process.returncode}; starting it again", file=sys.stderr)
        self.start()

    def stop(self):
        if self.process is None or self.ended():
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            print(f"{self.name} did not end within 40 s; killing it", file=sys.stderr)
            self.process.kill()
            self.process.wait()


class NfsServer(Service):
    """An NFS server that is kept running, on the same ports with the same files."""

    def __init__(self, name, directory):
        super().__init__(name, [], os.path.join(directory, "ganesha.log"))
        self.server = ganesha.Ganesha(directory)

    def start(self):
        try:
            self.server.start()
        except RuntimeError as error:
            raise StackError(str(error)) from error
        self.process = self.server.process

    def stop(self):
        self.server.kill()


class Stack:
    names = NAMES

    def __init__(self, given):
        self.bin = os.path.abspath(given.bin)
        self.dir = os.path.abspath(given.dir)
        self.mount = os.path.abspath(given.mount) if given.mount else None
        self.ports = {name: given.port_base + i for i, name in enumerate(("lmtp", "pop3", "pop3s", "wire"))}
        self.socket = self.path("canopyd.sock")
        self.nfs = NfsServer("nfs", self.path("nfs")) if given.over_nfs else None
        self.tree = self.nfs.server.address(given.over_nfs) if self.nfs else self.path("base")
        self.services = []

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def program(self, name):
        return os.path.join(self.bin, name)

    def ctl(self, *command, stdin=None):
        done = subprocess.run([self.program("canopyctl"), "--server", "unix:" + self.socket, "--json", *command],
                              input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(f"canopyctl {' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def make_certificates(self):
        pki = self.path("pki")
        if not os.path.exists(os.path.join(pki, "ca.crt")):
            self.ctl("pki", "init", "--dir", pki, "--cluster", "canopy")
        for name, role in (("backend", "backend"), ("frontend", "frontend"), ("admin", "admin")):
            if not os.path.exists(os.path.join(pki, name + ".crt")):
                self.ctl("pki", "issue", "--dir", pki, "--role", role, "--name", name, "--dns", "localhost",
                         "--ip", "127.0.0.1")

    def write_frontend_configuration(self):
        def quoted(text):  # a string of JSON is one of TOML too
            return json.dumps(text, ensure_ascii=False)

        tls = (f'[[listener.tls]]\ncertificate = {quoted(self.path("pki/frontend.crt"))}\n'
               f'key = {quoted(self.path("pki/frontend.key"))}\n')
        listeners = [f'[backend]\naddresses = [{quoted("unix:" + self.socket)}]\n']
        for protocol in ("lmtp", "pop3", "pop3s"):
            listeners.append(f'[[listener]]\nprotocol = "{protocol}"\naddress = "tcp:127.0.0.1:{self.ports[protocol]}"\n'
                             f'default_domain = "{DOMAIN}"\n' + ("" if protocol == "lmtp" else tls))
        replace_file(self.path("frontend.toml"), "\n".join(listeners))

    def check_ports(self):
        """A port in use is the likeliest trouble: say which before anything is started."""
        for name, port in self.ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise StackError(f"port {port} ({name}): {error.strerror}; choose others with --port-base") from error

    def start(self):
        if len(self.socket.encode()) > 107:
            raise StackError(f"{self.socket}: a socket's path has at most 107 bytes; choose a shorter --dir")
        for part in ("", "logs") if self.nfs else ("", "base", "logs"):
            os.makedirs(self.path(part), mode=0o700, exist_ok=True)
        if self.mount:
            self.clear_mount()
        self.check_ports()
        self.make_certificates()
        self.write_frontend_configuration()
        pki = self.path("pki")
        self.services = [
            Service("canopyd", [self.program("canopyd"), "--dir", self.tree, "--init", *(["--catalog", self.path("catalog")] if self.nfs else []),
                                "--listen", "unix:" + self.socket, "--listen", f"tcp:127.0.0.1:{self.ports['wire']}",
                                "--tls-cert", pki + "/backend.crt", "--tls-key", pki + "/backend.key",
                                "--tls-ca", pki + "/ca.crt"], self.path("logs/canopyd.log")),
            Service("canopy-frontend", [self.program("canopy-frontend"), "--config", self.path("frontend.toml")],
                    self.path("logs/frontend.log")),
        ]
        if self.nfs:
            self.nfs.start()
        self.services[0].start()
        self.prepare_tree()
        self.create_accounts()
        self.services[1].start()
        if self.mount:
            self.services.append(Service("canopy-mount", [self.program("canopy-mount"), "-f", "unix:" + self.socket, self.mount],
                                         self.path("logs/mount.log")))
            self.services[2].start()

    def prepare_tree(self):
        """What has to be there before the accounts."""

    def all_services(self):
        return [self.nfs, *self.services] if self.nfs else self.services

    def clear_mount(self):
        """A mount that was killed leaves its directory in the way."""
        try:
            try:
                os.listdir(self.mount)
            except FileNotFoundError:
                os.makedirs(self.mount)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise StackError(f"--mount {self.mount}: {error.strerror}") from error
            subprocess.run(["fusermount3", "-u", self.mount], check=False)

    def create_accounts(self):
        """Passwords are kept before the accounts are made: a start that was killed goes on where it was."""
        file = self.path("accounts.json")
        if not os.path.exists(file):
            replace_file(file, json.dumps([{"name": f"{name}@{DOMAIN}", "password": secrets.token_urlsafe(12)}
                                           for name in self.names]))
        with open(file, encoding="utf-8") as opened:
            self.accounts = json.load(opened)
        mark = self.path("accounts.made")
        if os.path.exists(mark):
            return
        if DOMAIN not in self.ctl("domain", "list"):
            self.ctl("domain", "create", DOMAIN)
        for account in self.accounts:
            self.ctl("account", "create", account["name"], "--password-file", "-", "--exist-ok",
                     stdin=account["password"] + "\n")
        replace_file(mark, "")

    def facts(self):
        address = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        base = str(self.nfs.server.export) if self.nfs else self.path("base")
        return {"base": base, "socket": self.socket, "wire": address["wire"], "lmtp": address["lmtp"],
                "pop3": address["pop3"], "pop3s": address["pop3s"], "ca": self.path("pki/ca.crt"), "domain": DOMAIN,
                "accounts": self.accounts, **({"mount": self.mount} if self.mount else {}),
                **({"tree": self.tree} if self.nfs else {})}

    def prose(self):
        facts, first = self.facts(), self.accounts[0]
        ca, ctl, server = (shlex.quote(each) for each in (facts["ca"], self.program("canopyctl"), "unix:" + self.socket))
        accounts = "\n".join(f"  {each['name']}  password {each['password']}" for each in self.accounts)
        mount = f"  mount  {self.mount}\n" if self.mount else ""
        return f"""Canopy runs on {self.tree} (Ctrl-C ends it).
  LMTP   {facts['lmtp']}
  POP3   {facts['pop3']} (STLS)
  POP3S  {facts['pop3s']}
  wire   {facts['wire']} (TLS), unix:{facts['socket']}
  CA     {facts['ca']}
{mount}{accounts}

Try in another terminal:
  swaks --protocol LMTP --server {facts['lmtp']} --from you@example.org --to {first['name']} --header 'Subject: Hello' --body 'Hello from LMTP.'
  curl --cacert {ca} -u '{first['name']}:{first['password']}' pop3s://localhost:{self.ports['pop3s']}/1
  {ctl} --server {server} locate {first['name']}
"""

    def watch(self):
        while True:
            time.sleep(0.2)
            for service in self.all_services():
                if service.ended():
                    service.restart()

    def stop(self):
        for service in reversed(self.all_services()):
            service.stop()


def interrupt(*_):
    raise KeyboardInterrupt


def run(program, kind, given):
    """Until it is interrupted; the exit status."""
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    stack = kind(given)
    try:
        stack.start()
        print(json.dumps(stack.facts()) if given.json else stack.prose(), flush=True)
        stack.watch()
    except KeyboardInterrupt:
        return 0
    except StackError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stack.stop()
    return 0


if __name__ == "__main__":
    sys.exit(run("tools/dev run", Stack, arguments()))
