"""Mounts over TLS whose connection is lost, with a word or without one: they find out, and go on."""
import ctypes
import errno
import fcntl
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from files import read, write
from mounted import Mounted
from stack import BIN, OVER_NFS, Stack

CLONE_NEWNET = 0x40000000
SECONDS = 300  # a generous bound; the kernel by itself would wait some 15 minutes


def own_network():
    """Puts this process into a network of its own, with nothing but a loopback device. A sentence where that fails."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        return "no network namespace: " + os.strerror(ctypes.get_errno())
    # An address beside 127.0.0.1, as getaddrinfo() knows none at all on a machine without one (AI_ADDRCONFIG).
    for command in ("ip link set lo up", "ip address add 198.18.0.1/32 dev lo"):
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            return done.stderr.strip() or f"{command}: status {done.returncode}"
    return None


WHY_NOT = own_network()


class Path:
    """A proxy before a port of this machine. It can fall silent for the connections that it has, as a firewall does that
    has forgotten them, and it can be closed."""

    def __init__(self, port):
        self.port_behind, self.ends = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open_again = threading.Event()
        self.open_again.set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if not self.open_again.is_set():
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.port_behind))
            except OSError:
                client.close()
                continue
            silent = threading.Event()
            self.ends.append((client, server, silent))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self.carry, args=(source, target, silent), daemon=True).start()

    @staticmethod
    def carry(source, target, silent):
        try:
            while data := source.recv(1 << 18):
                if not silent.is_set():
                    target.sendall(data)
        except OSError:
            pass
        Path.shut(source, target)

    @staticmethod
    def shut(*ends):
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def fall_silent(self):
        for _, _, silent in self.ends:
            silent.set()

    def close(self):
        """Ends the connections, and takes no others until it is opened."""
        self.open_again.clear()
        for client, server, _ in self.ends:
            self.shut(client, server)

    def open(self):
        self.open_again.set()

    def end(self):
        self.close()
        self.listener.close()


class OverTls(Mounted):
    """Over TLS, by that port of this machine."""

    def __init__(self, stack, port, *options):
        pki = os.path.dirname(stack.facts["ca"])
        subprocess.run([os.path.join(BIN, "canopyctl"), "pki", "issue", "--dir", pki, "--role", "mount", "--name", f"mount-{port}"],
                       capture_output=True, check=True, timeout=60)
        super().__init__(stack, "--ca", stack.facts["ca"], "--cert", f"{pki}/mount-{port}.crt", "--key", f"{pki}/mount-{port}.key",
                         *options, url=f"tcp:127.0.0.1:{port}")


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
@unittest.skipIf(WHY_NOT, f"NOT TESTED: {WHY_NOT}")
class Lost(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.__exit__)
        self.stack.start()
        self.top = os.path.join("SharedDomains", self.stack.facts["domain"])

    def tls_port(self):
        return int(self.stack.facts["wire"].rsplit(":", 1)[1])

    def until(self, look, seconds=SECONDS):
        end = time.monotonic() + seconds
        while not look():
            self.assertLess(time.monotonic(), end, "it does not come")
            time.sleep(0.05)

    def by_a_path(self, *options):
        path = Path(self.tls_port())
        self.addCleanup(path.end)
        mounted = OverTls(self.stack, path.port, *options)
        self.addCleanup(mounted.__exit__)
        return path, mounted

    def test_a_path_that_has_forgotten_the_connection_costs_no_operation(self):
        path, mounted = self.by_a_path()  # with the limit that is usual
        top = mounted.path(self.top)
        write(os.path.join(top, "before"), b"before")
        with open(os.path.join(top, "open"), "w+b", buffering=0) as file:
            file.write(b"open")
            os.fsync(file.fileno())
            path.fall_silent()
            os.mkdir(os.path.join(top, "meanwhile"))
            self.assertEqual(os.pread(file.fileno(), 10, 0), b"open")
        self.assertEqual(read(os.path.join(top, "before")), b"before")
        self.assertTrue(os.path.isdir(os.path.join(self.stack.facts["base"], self.top, "meanwhile")))
        self.assertNotIn("operation-failed", mounted.logged())

    @unittest.skipIf(OVER_NFS, "the tree's server would be cut off as well")
    def test_the_locks_of_a_mount_whose_machine_is_gone_are_free_soon(self):
        mounted = OverTls(self.stack, self.tls_port())
        self.addCleanup(mounted.__exit__)
        other = Mounted(self.stack)
        self.addCleanup(other.__exit__)
        write(other.path(self.top, "locked"), b"")
        self.until(lambda: os.path.exists(mounted.path(self.top, "locked")))
        with open(mounted.path(self.top, "locked"), "r+b") as one, open(other.path(self.top, "locked"), "r+b") as two:
            fcntl.flock(one, fcntl.LOCK_EX)
            with self.assertRaises(BlockingIOError):
                fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            begun = time.monotonic()
            subprocess.run(["ip", "link", "set", "lo", "down"], check=True, timeout=60)
            try:
                free = threading.Event()

                def wait():
                    fcntl.flock(two, fcntl.LOCK_EX)
                    free.set()

                waiting = threading.Thread(target=wait, daemon=True)
                waiting.start()
                self.assertTrue(free.wait(SECONDS), "the lock is not given")
                print(f"the lock was free after {time.monotonic() - begun:.0f} s")
            finally:
                subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=60)
            waiting.join()
            self.until(lambda: "lock-lost" in mounted.logged())
        self.assertEqual(read(mounted.path(self.top, "locked")), b"")

    def test_what_others_changed_while_it_was_cut_off_shows_after_it(self):
        path, mounted = self.by_a_path("-o", "told_ms=600000,wait=120")
        other = Mounted(self.stack)
        self.addCleanup(other.__exit__)
        here, there = other.path(self.top), mounted.path(self.top)
        os.mkdir(os.path.join(here, "directory"))
        for name, content in (("changed", b"1"), ("removed", b"2"), ("directory/file", b"3"), ("renamed", b"4")):
            write(os.path.join(here, name), content)
        self.until(lambda: os.path.exists(os.path.join(there, "renamed")))
        time.sleep(1.1)  # the kernel keeps what it sees from now on
        before = sorted(os.listdir(there))
        for name, content in (("changed", b"1"), ("removed", b"2"), ("directory/file", b"3"), ("renamed", b"4")):
            self.assertEqual(read(os.path.join(there, name)), content)
        with open(os.path.join(there, "changed"), "rb", buffering=0) as held:
            path.close()
            write(os.path.join(here, "changed"), b"longer than before")
            os.chmod(os.path.join(here, "changed"), 0o604)
            os.unlink(os.path.join(here, "removed"))
            os.rename(os.path.join(here, "renamed"), os.path.join(here, "directory", "renamed"))
            write(os.path.join(here, "directory", "file"), b"5")
            path.open()
            self.until(lambda: "caches-dropped" in mounted.logged())
            self.until(lambda: os.stat(os.path.join(there, "changed")).st_size == 18)
            self.assertEqual(os.stat(os.path.join(there, "changed")).st_mode & 0o777, 0o604)
            self.assertEqual(os.pread(held.fileno(), 100, 0), b"longer than before")
        self.assertEqual(sorted(os.listdir(there)), [name for name in before if name not in ("removed", "renamed")])
        self.assertFalse(os.path.exists(os.path.join(there, "removed")))
        self.assertEqual(sorted(os.listdir(os.path.join(there, "directory"))), ["file", "renamed"])
        self.assertEqual(read(os.path.join(there, "directory", "renamed")), b"4")
        self.assertEqual(read(os.path.join(there, "directory", "file")), b"5")

    def test_the_daemon_is_killed_and_started_again_under_a_mount_over_tls(self):
        path, mounted = self.by_a_path("-o", "wait=120")
        top = mounted.path(self.top)
        failed, written = [], []
        over = threading.Event()

        def work():
            try:
                while not over.is_set():
                    name = os.path.join(top, f"file-{len(written)}")
                    write(name, b"content")
                    os.rename(name, name + ".new")
                    written.append(name + ".new")
            except OSError as error:
                failed.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        for _ in range(3):
            count = len(written)
            self.until(lambda count=count: failed or len(written) > count + 10)
            self.stack.stop(signal.SIGKILL)
            self.stack.start()  # by another port
            path.port_behind = self.tls_port()
        count = len(written)
        self.until(lambda: failed or len(written) > count + 10)
        over.set()
        worker.join()
        self.assertEqual(failed, [])
        for name in written:
            self.assertEqual(read(name), b"content")

    def test_a_closed_path_is_eio_beyond_the_limit(self):
        path, mounted = self.by_a_path("-o", "wait=1")
        path.close()
        with self.assertRaises(OSError) as refused:
            os.mkdir(mounted.path(self.top, "new"))
        self.assertEqual(refused.exception.errno, errno.EIO)
        path.open()
        self.until(lambda: os.access(mounted.path(self.top), os.R_OK))
        os.mkdir(mounted.path(self.top, "new"))


if __name__ == "__main__":
    unittest.main()
