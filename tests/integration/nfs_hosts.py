"""NFS servers that are hosts of their own for a test: in a network namespace that can be cut off, behind a proxy that makes
them slow, on a small file system that can be filled. All of it ends with the test's process."""
import ctypes
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time

from stack import SOURCE

sys.path.append(os.path.join(SOURCE, "tools"))
import ganesha  # pylint: disable=wrong-import-position


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)


def die_with_parent():
    ctypes.CDLL(None).prctl(ganesha.PR_SET_PDEATHSIG, signal.SIGKILL)


class Host:
    """A network namespace of one process, joined to this one by a veth pair. With the process it goes, and the pair with it."""

    def __init__(self):
        # 198.18.0.0/15 is set apart for tests of networks (RFC 2544): a subnet of four addresses in it.
        net = (198 << 24) + (18 << 16) + 4 * random.randrange(1 << 15)
        self.outside, self.address = (socket.inet_ntoa((net + last).to_bytes(4, "big")) for last in (1, 2))
        self.link = f"cn{random.randrange(1 << 32):08x}"
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=die_with_parent,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            self.wait_for_namespace()
            run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(self.process.pid))
            run("ip", "address", "add", self.outside + "/30", "dev", self.link)
            run("ip", "link", "set", self.link, "up")
            run(*self.inside("ip", "link", "set", "lo", "up"))
            run(*self.inside("ip", "address", "add", self.address + "/30", "dev", "eth0"))
            self.join()
        except BaseException:
            self.end()
            raise

    def wait_for_namespace(self):
        ours = os.readlink("/proc/self/ns/net")
        for _ in range(500):
            if self.process.poll() is not None:
                raise OSError("unshare --net: " + self.process.stderr.read().decode().strip())
            if os.readlink(f"/proc/{self.process.pid}/ns/net") != ours:
                return
            time.sleep(0.01)
        raise OSError("unshare --net does nothing")

    def inside(self, *command):
        return ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", *command]

    def cut_off(self):
        run(*self.inside("ip", "link", "set", "eth0", "down"))

    def join(self):
        run(*self.inside("ip", "link", "set", "eth0", "up"))

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def why_no_hosts():
    """A sentence, or None where network namespaces can be made."""
    try:
        Host().end()
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", None) or str(error)
        return f"no network namespaces here: {words.strip()}"
    return None


class SmallDisk:
    """A file system of few MiB in memory, on a directory; Ganesha can export it, as it has file handles."""

    def __init__(self, directory, mebibytes):
        self.directory, self.kept = directory, directory + ".disk"
        for each in (self.directory, self.kept):
            os.makedirs(each, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "canopy-test", self.kept)
        self.bring_back()

    def fill(self):
        """To the last byte."""
        with open(os.path.join(self.kept, "filler"), "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue

    def empty(self):
        os.unlink(os.path.join(self.kept, "filler"))

    def take_away(self):
        """As if it were not mounted yet: an empty directory is there. The files are kept."""
        run("umount", self.directory)

    def bring_back(self):
        run("mount", "--bind", self.kept, self.directory)

    def end(self):
        for each in (self.directory, self.kept):
            subprocess.run(["umount", "-l", each], check=False, capture_output=True)


class Delay(threading.Thread):
    """One direction of a connection: what is read goes on after a while."""

    def __init__(self, source, target, seconds):
        super().__init__(daemon=True)
        self.source, self.target, self.seconds = source, target, seconds
        self.waiting = queue.Queue()
        self.start()
        threading.Thread(target=self.pass_on, daemon=True).start()

    def run(self):
        try:
            while data := self.source.recv(1 << 18):
                self.waiting.put((time.monotonic() + self.seconds(), data))
        except OSError:
            pass
        self.waiting.put((0, b""))

    def pass_on(self):
        try:
            while True:
                due, data = self.waiting.get()
                if not data:
                    break
                time.sleep(max(0, due - time.monotonic()))
                self.target.sendall(data)
        except OSError:
            pass
        for end in (self.source, self.target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class SlowPath:
    """A proxy before a port of this machine, whose answers come `seconds` later. A process of its own."""

    def __init__(self, port, family=socket.AF_INET):
        self.listener = socket.socket(family)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        reader, self.writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                die_with_parent()
                os.close(self.writer)
                self.serve(port, reader)
            finally:
                os._exit(1)
        os.close(reader)

    def serve(self, port, reader):
        delay = [0.0]

        def obey():
            while line := os.read(reader, 8):
                delay[0] = float(line)
            os._exit(0)
        threading.Thread(target=obey, daemon=True).start()
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", port))
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Delay(client, server, lambda: 0)
            Delay(server, client, lambda: delay[0])

    def be_late(self, seconds):
        os.write(self.writer, f"{seconds:8.3f}"[:8].encode())

    def end(self):
        os.close(self.writer)
        self.listener.close()
        os.waitpid(self.pid, 0)
