#!/usr/bin/env python3
"""Real NFS servers for tests: nfs-ganesha over a directory, on loopback ports of its own, without D-Bus.

As a module: `with Ganesha(DIR) as server: server.address(...)`. As a command, for tests in other languages:
`ganesha.py exec DIR` chooses ports, writes them as "NFS_PORT MOUNT_PORT" to DIR/ports, and becomes that server,
for DIR/export; it dies with whoever started it. In a DIR that it knows it is the same server again.
"""
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import ports as test_ports

PROGRAM = "ganesha.nfsd"
PR_SET_PDEATHSIG = 1

CONFIG = """
NFS_CORE_PARAM {{
  Protocols = 3,4; NFS_Port = {nfs_port}; MNT_Port = {mount_port}; Bind_addr = {host};
  Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; mount_path_pseudo = true;
}}
NFSv4 {{
  Graceless = true; RecoveryBackend = fs; RecoveryRoot = "{directory}/recovery"; Only_Numeric_Owners = true;
}}
EXPORT {{
  Export_Id = 1; Path = "{directory}/export"; Pseudo = "/export"; Protocols = 3,4; Access_Type = RW;
  Squash = No_Root_Squash; SecType = sys; Transports = TCP;
  FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = WARN; }}
"""


def why_unavailable():
    """A sentence, or None where servers can be started."""
    if os.geteuid() != 0:
        return "nfs-ganesha needs root"
    if shutil.which(PROGRAM) is None:
        return "nfs-ganesha is not installed (tools/dev setup)"
    return None


def accepts(port, host="127.0.0.1"):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def rpcbind_answers():
    """By its Unix socket, which servers register at, in whatever network they are."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex("/run/rpcbind.sock") == 0


def start_rpcbind():
    """NFSv3 servers do not start without it. It stays, as other servers may use it."""
    if rpcbind_answers():
        return
    os.makedirs("/run/rpcbind", exist_ok=True)
    subprocess.run(["rpcbind", "-w"], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not rpcbind_answers():
        if time.monotonic() > deadline:
            raise RuntimeError("rpcbind does not start")
        time.sleep(0.05)


def prepare(directory, host="127.0.0.1", inheritable=False):
    """Directories, ports and configuration; what is there stays. Answers (NFS port, mount port), which are this process's
    if nobody else took them meanwhile."""
    directory = pathlib.Path(directory).resolve()
    ports = directory / "ports"
    if not ports.exists():
        (directory / "export").mkdir(parents=True, exist_ok=True)
        for part in ("v4recov", "v4old"):
            (directory / "recovery" / part).mkdir(parents=True, exist_ok=True)
        chosen = {name: test_ports.reserve(inheritable=inheritable) for name in ("nfs_port", "mount_port")}
        (directory / "ganesha.conf").write_text(CONFIG.format(directory=directory, host=host, **chosen))
        (directory / "ports.new").write_text("{nfs_port} {mount_port}\n".format(**chosen))
        (directory / "ports.new").rename(ports)
    nfs_port, mount_port = map(int, ports.read_text().split())
    for port in (nfs_port, mount_port):
        test_ports.hold(port, inheritable)
    return nfs_port, mount_port


def become(directory):
    prepare(directory, inheritable=True)
    directory = pathlib.Path(directory).resolve()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.execvp(PROGRAM, [PROGRAM, "-F", "-L", str(directory / "ganesha.log"), "-f",
                        str(directory / "ganesha.conf"), "-p", str(directory / "ganesha.pid")])


class Ganesha:
    """One server. kill() and start() again keep its ports and files; stop() (SIGSTOP) and go_on() freeze it.
    `within`: words before its command, as of a network namespace in which it has the address `host`."""

    def __init__(self, directory, host="127.0.0.1", within=()):
        self.directory = pathlib.Path(directory).resolve()
        self.host, self.within, self.process = host, within, None
        self.nfs_port, self.mount_port = prepare(self.directory, host)

    @property
    def export(self):
        return self.directory / "export"

    def address(self, version=3, path="", **parameters):
        more = {"version": version, "nfsport": self.nfs_port}
        if version == 3:
            more["mountport"] = self.mount_port
        more.update(parameters)
        query = "&".join(f"{name}={value}" for name, value in more.items())
        return f"nfs://{self.host}/export{path}?{query}"

    def start(self, wait_s=30):
        start_rpcbind()
        command = [*self.within, sys.executable, __file__, "become", str(self.directory)]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + wait_s
        while not accepts(self.nfs_port, self.host):
            if time.monotonic() > deadline:
                raise RuntimeError(f"nfs-ganesha did not start: {self.last_words()}")
            time.sleep(0.05)
            if self.process.poll() is not None:  # another registered with rpcbind at the same moment
                time.sleep(0.2)
                self.process = subprocess.Popen(command)
        return self

    def last_words(self):
        log = self.directory / "ganesha.log"
        return " / ".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else f"{log} is not there"

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # until all of its threads stand still

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()


def main(arguments):
    match arguments:
        case ["exec", directory]:
            start_rpcbind()
            become(directory)
        case ["become", directory]:  # by Ganesha.start()
            become(directory)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
