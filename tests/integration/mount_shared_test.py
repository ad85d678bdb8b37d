"""Two mounts of one daemon: what one does, the other sees; their locks are each other's."""
import errno
import fcntl
import os
import select
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from files import read, write
from mount_case import TwoMountsCase
from mounted import Mounted
from stack import OVER_NFS, Stack

SEEN_SECONDS = 30  # a generous bound; how long it takes is printed, and stated in docs/operations/mount.md


def lock_range(file, kind, start, length, command=fcntl.F_SETLK):
    """fcntl(2) with `struct flock`; OSError when it is refused."""
    return fcntl.fcntl(file, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))


APPENDED = 150
APPENDER = """
import fcntl, os, sys
path, name, count, locked = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] != ""
file = os.open(path, os.O_WRONLY | os.O_APPEND)
for number in range(count):
    if locked:
        fcntl.lockf(file, fcntl.LOCK_EX)
    line = f"{name}{number:05d}\\n".encode()
    assert os.write(file, line) == len(line)
    if locked:
        fcntl.lockf(file, fcntl.LOCK_UN)
"""


class TwoMounts(TwoMountsCase):
    def until(self, expected, look):
        """How long it takes until `look` answers that."""
        start = time.monotonic()
        while True:
            try:
                found = look()
            except FileNotFoundError:
                found = None
            if found == expected:
                return time.monotonic() - start
            if time.monotonic() - start > SEEN_SECONDS:
                self.fail(f"it still shows {found!r} and not {expected!r}")
            time.sleep(0.001)

    def test_what_the_other_mount_does_shows_soon(self):
        here, there = self.paths("file")
        took = []
        write(here, b"1")
        took.append(self.until(b"1", lambda: read(there)))
        for number in range(2, 12):
            time.sleep(1.1)  # the kernel keeps it for long by now
            self.assertEqual(os.stat(there).st_size, number - 1)
            write(here, b"x" * number)
            took.append(self.until(number, lambda: os.stat(there).st_size))
            self.assertEqual(read(there), b"x" * number)
        os.chmod(here, 0o640)
        took.append(self.until(0o640, lambda: os.stat(there).st_mode & 0o777))
        if not OVER_NFS:  # which has none
            os.setxattr(here, "user.x", b"1")
            self.assertEqual(os.getxattr(there, "user.x"), b"1")
        os.rename(here, here + "-new")
        took.append(self.until(False, lambda: os.path.exists(there)))
        self.assertEqual(read(there + "-new"), b"x" * 11)
        os.unlink(here + "-new")
        took.append(self.until([], lambda: os.listdir(os.path.dirname(there))))
        print(f"seen by the other mount after {sorted(took)[len(took) // 2] * 1000:.1f} ms (median), "
              f"{max(took) * 1000:.1f} ms (longest)")

    def test_a_directory_that_the_other_mount_renames_stays_open(self):
        here, there = self.paths("directory")
        os.mkdir(here)
        write(os.path.join(here, "file"), b"1")
        self.assertEqual(read(os.path.join(there, "file")), b"1")
        inside = os.open(there, os.O_RDONLY | os.O_DIRECTORY)
        os.rename(here, here + "-new")
        self.until(False, lambda: os.path.exists(there))
        with open(os.open("file", os.O_RDONLY, dir_fd=inside), "rb") as file:
            self.assertEqual(file.read(), b"1")
        os.close(inside)

    def test_a_directory_that_moved_out_of_sight_shows_what_is_in_it_now(self):
        here, there = self.paths("a"), self.paths("b")
        for path in (here[0], os.path.join(here[0], "moved"), os.path.join(here[0], "moved", "below"), there[0]):
            os.mkdir(path)
        for name in ("x", "below/x"):
            write(os.path.join(here[0], "moved", name), b"1")
        self.until(True, lambda: os.path.exists(os.path.join(here[1], "moved", "below", "x")))
        time.sleep(1.1)  # the kernel keeps what it sees from now on
        for name in ("x", "below/x"):
            os.stat(os.path.join(here[1], "moved", name))
        # The other mount knows nothing of where it goes, so that it cannot tell what is changed in it there.
        os.rename(os.path.join(here[0], "moved"), os.path.join(there[0], "moved"))
        for name in ("", "below"):
            os.rename(os.path.join(there[0], "moved", name, "x"), os.path.join(there[0], "moved", name, "y"))
        for name in ("", "below"):
            self.until(False, lambda name=name: os.path.exists(os.path.join(there[1], "moved", name, "x")))
            self.until(True, lambda name=name: os.path.exists(os.path.join(there[1], "moved", name, "y")))

    def test_ranges_are_locked_for_both(self):
        here, there = self.paths("file")
        write(here, bytes(100))
        self.until(100, lambda: os.stat(there).st_size)
        with open(here, "r+b") as one, open(there, "r+b") as two:
            lock_range(one, fcntl.F_WRLCK, 0, 10)
            with self.assertRaises(OSError) as refused:
                lock_range(two, fcntl.F_RDLCK, 5, 10)
            self.assertIn(refused.exception.errno, (errno.EAGAIN, errno.EACCES))
            lock_range(two, fcntl.F_WRLCK, 10, 10)
            found = struct.unpack("hhqqi4x", lock_range(two, fcntl.F_WRLCK, 0, 0, fcntl.F_GETLK))
            self.assertEqual(found[:1] + found[2:4], (fcntl.F_WRLCK, 0, 10))
            waited = threading.Event()

            def wait():
                lock_range(two, fcntl.F_WRLCK, 0, 10, fcntl.F_SETLKW)
                waited.set()

            thread = threading.Thread(target=wait)
            thread.start()
            self.assertFalse(waited.wait(0.2))
            lock_range(one, fcntl.F_UNLCK, 0, 10)
            self.assertTrue(waited.wait(SEEN_SECONDS))
            thread.join()
            # Closing any descriptor of the file gives the process' locks on it back, as POSIX has it.
            open(there, "rb").close()
            lock_range(one, fcntl.F_WRLCK, 0, 0)

    def test_whoever_waits_can_be_interrupted(self):
        here, there = self.paths("file")
        write(here, b"")
        self.until(0, lambda: os.stat(there).st_size)
        with open(here, "r+b") as one:
            fcntl.flock(one, fcntl.LOCK_EX)
            waiting = subprocess.Popen([sys.executable, "-c", "import fcntl, sys\nwith open(sys.argv[1]) as file:\n"
                                        "    print('waits', flush=True)\n    fcntl.flock(file, fcntl.LOCK_EX)\n", there],
                                       stdout=subprocess.PIPE, text=True)
            self.assertEqual(waiting.stdout.readline(), "waits\n")
            time.sleep(0.2)
            waiting.send_signal(signal.SIGTERM)
            self.assertEqual(waiting.wait(SEEN_SECONDS), -signal.SIGTERM)
            waiting.stdout.close()
        with open(there, "r+b") as two:
            fcntl.flock(two, fcntl.LOCK_EX)  # closing gives it back, soon after it has answered

    def test_whoever_is_interrupted_keeps_what_was_held_before(self):
        here, there = self.paths("file")
        write(here, bytes(300))
        self.until(300, lambda: os.stat(there).st_size)

        def program(path, script):
            begin = "import fcntl, os, signal, struct, sys\nfile = os.open(sys.argv[1], os.O_RDWR)\n" \
                    "def lock(kind, start, length, command):\n" \
                    "    fcntl.fcntl(file, command, struct.pack('hhqqi4x', kind, os.SEEK_SET, start, length, 0))\n"
            started = subprocess.Popen([sys.executable, "-c", begin + script, path], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
            self.addCleanup(started.wait, SEEN_SECONDS)
            self.addCleanup(started.stdout.close)
            self.addCleanup(started.stdin.close)
            return started

        with open(here, "r+b") as one:
            lock_range(one, fcntl.F_WRLCK, 100, 100)
            holder = program(there, "class Stop(Exception): pass\ndef stop(*_): raise Stop()\n"
                                    "signal.signal(signal.SIGUSR1, stop)\nlock(fcntl.F_RDLCK, 0, 100, fcntl.F_SETLK)\n"
                                    "print('holds', flush=True)\n"
                                    "try:\n    lock(fcntl.F_WRLCK, 0, 200, fcntl.F_SETLKW)\n"
                                    "except Stop:\n    print('stopped', flush=True)\ninput()\n")
            self.assertEqual(holder.stdout.readline(), "holds\n")
            time.sleep(0.3)  # it waits for what is held here
            waiter = program(here, "print('waits', flush=True)\nlock(fcntl.F_WRLCK, 0, 50, fcntl.F_SETLKW)\n"
                                   "print('has it', flush=True)\n")
            self.assertEqual(waiter.stdout.readline(), "waits\n")
            time.sleep(0.3)
            holder.send_signal(signal.SIGUSR1)
            self.assertEqual(holder.stdout.readline(), "stopped\n")
            self.assertEqual(select.select([waiter.stdout], [], [], 1)[0], [], "it has got what the other one still held")
            for start in (0, 50, 99):
                with self.assertRaises(OSError):
                    lock_range(one, fcntl.F_WRLCK, start, 1)
            lock_range(one, fcntl.F_WRLCK, 200, 1)  # what was asked for and not given is free
            lock_range(one, fcntl.F_RDLCK, 60, 1)   # what was held is held as it was, for reading
            lock_range(one, fcntl.F_UNLCK, 60, 1)
            holder.stdin.write("\n")
            holder.stdin.flush()
            self.assertEqual(waiter.stdout.readline(), "has it\n")

    @unittest.skipUnless(shutil.which("fincore"), "there is no fincore")
    def test_what_was_read_stays_in_the_kernels_cache_until_it_changes(self):
        here, there = self.paths("file")
        write(here, b"1" * 65536)
        self.until(65536, lambda: os.stat(there).st_size)

        def cached():  # after opening it
            done = subprocess.run(["fincore", "--noheadings", "--bytes", "--output", "RES", there], capture_output=True, text=True,
                                  check=True, timeout=60)
            return int(done.stdout)

        time.sleep(2.5)  # whatever was changed just now is read again
        self.assertEqual(read(there), b"1" * 65536)
        self.assertEqual(cached(), 65536)
        before = os.stat(here)
        write(here, b"2" * 65536)
        os.utime(here, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.until(b"2" * 65536, lambda: read(there))
        time.sleep(2.5)
        self.assertEqual(read(there), b"2" * 65536)
        self.assertEqual(cached(), 65536)
        if not OVER_NFS:  # past the backend, which tells nobody
            write(os.path.join(self.stack.facts["base"], self.top, "file"), b"3" * 65536)
            self.assertEqual(read(there), b"3" * 65536)

    def test_locks_of_an_opening_go_with_it(self):
        here, there = self.paths("file")
        write(here, bytes(10))
        self.until(10, lambda: os.stat(there).st_size)
        with open(there, "r+b") as two:
            with open(here, "r+b") as one:
                lock_range(one, fcntl.F_WRLCK, 0, 0, 37)  # F_OFD_SETLK
                with self.assertRaises(OSError):
                    lock_range(two, fcntl.F_WRLCK, 0, 0)
            deadline = time.monotonic() + SEEN_SECONDS
            while True:
                try:
                    lock_range(two, fcntl.F_WRLCK, 0, 0)
                    break
                except OSError:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)

    def test_both_append_to_one_file(self):
        paths = self.paths("log")
        write(paths[0], b"")
        self.until(0, lambda: os.stat(paths[1]).st_size)
        for locked in ("", "locked"):
            writers = [subprocess.Popen([sys.executable, "-c", APPENDER, path, name, str(APPENDED), locked])
                       for path, name in zip(paths + paths, "abcd")]
            if not locked:  # the answer to an append may be lost with the daemon
                time.sleep(0.3)
                self.stack.stop(9)
                self.stack.start()
            self.assertEqual([writer.wait(SEEN_SECONDS * 6) for writer in writers], [0] * 4)
        lines = read(paths[0]).decode().splitlines()
        self.assertEqual(sorted(lines), sorted(f"{name}{number:05d}" for name in "abcd" for number in range(APPENDED)
                                               for _ in range(2)))
        self.until("\n".join(lines) + "\n", lambda: read(paths[1]).decode())

    def test_two_mounts_write_one_database(self):
        here, there = self.paths("counts.sqlite")
        with sqlite3.connect(here) as first:
            first.execute("CREATE TABLE counts (who TEXT, number INTEGER)")
        first.close()
        self.until(True, lambda: os.path.exists(there))
        failed = []

        def count(path, who):
            try:
                database = sqlite3.connect(path, timeout=120)
                for number in range(25):
                    with database:
                        database.execute("INSERT INTO counts VALUES (?, ?)", (who, number))
                database.close()
            except sqlite3.Error as error:
                failed.append(error)

        threads = [threading.Thread(target=count, args=each) for each in ((here, "one"), (there, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        database = sqlite3.connect(there)
        self.assertEqual(database.execute("SELECT who, count(*) FROM counts GROUP BY who").fetchall(),
                         [("one", 25), ("two", 25)])
        self.assertEqual(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        database.close()

    @unittest.skipUnless(shutil.which("git"), "git is not installed")
    def test_two_mounts_commit_to_one_repository(self):
        here, there = self.paths("repository")
        environment = dict(os.environ, GIT_AUTHOR_NAME="n", GIT_AUTHOR_EMAIL="e", GIT_COMMITTER_NAME="n", GIT_COMMITTER_EMAIL="e",
                           GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")

        def git(path, *arguments):
            return subprocess.run(["git", "-C", path, *arguments], env=environment, capture_output=True, text=True, timeout=120,
                                  check=True).stdout

        subprocess.run(["git", "init", "-q", here], env=environment, check=True, timeout=60)
        for number, path in enumerate((here, there, here, there)):
            self.until(True, lambda at=path: os.path.isdir(os.path.join(at, ".git")))
            name = f"file-{number}"
            write(os.path.join(path, name), name.encode())
            git(path, "add", name)
            git(path, "commit", "-qm", name)
        self.assertEqual(len(git(here, "log", "--oneline").splitlines()), 4)
        self.assertEqual(git(there, "status", "--porcelain"), "")
        git(there, "fsck", "--strict")


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
@unittest.skipIf(OVER_NFS, "what is changed on its disk the NFS server itself notices late")
class PastTheBackend(unittest.TestCase):
    """What is changed on the store's own files, of which the backend tells nobody."""
    until = TwoMounts.until

    def tree(self, stack, mounted):
        """The same directory in the mount and on the store, and what is known of it now."""
        there, lies = (os.path.join(top, "SharedDomains", stack.facts["domain"], "top")
                       for top in (mounted.directory, stack.facts["base"]))
        os.mkdir(there)
        for name in ("grown", "moded", "removed", "renamed"):
            write(os.path.join(there, name), b"1")
            os.chmod(os.path.join(there, name), 0o644)
        for number in range(50):  # so that it knows which names are not there
            self.assertFalse(os.path.exists(os.path.join(there, f"absent-{number}")))
        time.sleep(2.5)  # what was changed just now is not kept
        for _ in range(2):
            self.assertEqual(self.shown(there), dict.fromkeys(("grown", "moded", "removed", "renamed"), (1, 0o644)))
            self.assertEqual(read(os.path.join(there, "grown")), b"1")
        return there, lies

    @staticmethod
    def shown(directory):
        """Size and mode of each file: as they are listed, and as a look at each name says."""
        by_name = {name: os.stat(os.path.join(directory, name)) for name in os.listdir(directory)}
        return {name: (at.st_size, at.st_mode & 0o777) for name, at in by_name.items()}

    CHANGED = {"grown": (7, 0o644), "moded": (1, 0o600), "new": (1, 0o644), "absent-7": (3, 0o644)}

    @staticmethod
    def change(lies):
        write(os.path.join(lies, "grown"), b"changed")
        os.chmod(os.path.join(lies, "moded"), 0o600)
        os.unlink(os.path.join(lies, "removed"))
        os.rename(os.path.join(lies, "renamed"), os.path.join(lies, "new"))
        write(os.path.join(lies, "absent-7"), b"now")
        os.chmod(os.path.join(lies, "absent-7"), 0o644)

    def look_at_all(self, there):
        self.until(self.CHANGED, lambda: self.shown(there))
        self.until([True, False, False], lambda: [os.path.exists(os.path.join(there, name))
                                                  for name in ("absent-7", "removed", "renamed")])
        self.until(b"changed", lambda: read(os.path.join(there, "grown")))

    def test_it_shows_by_itself_when_what_is_told_of_has_been_kept_long_enough(self):
        with Stack() as stack, Mounted(stack, "-o", "told_ms=500") as mounted:
            there, lies = self.tree(stack, mounted)
            self.change(lies)
            self.look_at_all(there)

    def test_it_shows_with_the_next_change_that_is_told_of(self):
        # In the time of this test nothing shows by itself.
        with Stack() as stack, Mounted(stack, "-o", "told_ms=3600000") as mounted, Mounted(stack) as other:
            there, lies = self.tree(stack, mounted)
            self.change(lies)
            theirs = os.path.join(other.directory, os.path.relpath(there, mounted.directory))
            for name in ("removed", "renamed", "told"):  # of what the directory has and of what these names lead to,
                write(os.path.join(theirs, name), b"1")
                os.unlink(os.path.join(theirs, name))
            for name in ("grown", "moded"):              # and of what these files are
                os.setxattr(os.path.join(theirs, name), "user.told", b"1")
            self.look_at_all(there)


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class LocksAndRestarts(unittest.TestCase):
    def test_locks_are_held_through_a_restart_of_the_daemon(self):
        with Stack() as stack, Mounted(stack) as one, Mounted(stack) as two:
            path = os.path.join("SharedDomains", stack.facts["domain"], "file")
            write(one.path(path), bytes(10))
            with open(one.path(path), "r+b") as holder, open(two.path(path), "r+b") as other:
                fcntl.flock(holder, fcntl.LOCK_EX)
                lock_range(holder, fcntl.F_WRLCK, 0, 5)
                stack.stop(9)
                stack.start()
                with self.assertRaises(BlockingIOError):
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with self.assertRaises(BlockingIOError):
                    lock_range(other, fcntl.F_WRLCK, 4, 1)
                lock_range(other, fcntl.F_WRLCK, 5, 1)

    def test_many_nodes_are_not_remembered_for_ever(self):
        with Stack() as stack, Mounted(stack, "-o", "nodes=1000") as mounted, tempfile.TemporaryDirectory() as scratch:
            top = os.path.join(stack.facts["base"], "SharedDomains", stack.facts["domain"], "many")
            for directory in range(20):
                os.makedirs(os.path.join(top, str(directory)))
                for number in range(500):
                    write(os.path.join(top, str(directory), str(number)), b"")
            self.assertEqual(os.listdir(scratch), [])
            seen = 0
            for _, _, names in os.walk(mounted.path("SharedDomains", stack.facts["domain"], "many")):
                seen += len(names)
            self.assertEqual(seen, 10_000)
            for directory in range(20):
                for number in range(0, 500, 7):
                    os.stat(mounted.path("SharedDomains", stack.facts["domain"], "many", str(directory), str(number)))
            pid = subprocess.run(["pgrep", "-f", "canopy-mount.*" + mounted.directory], capture_output=True, text=True,
                                 check=True).stdout.split()[0]
            os.kill(int(pid), signal.SIGUSR1)
            deadline = time.monotonic() + SEEN_SECONDS
            while "nodes-known" not in mounted.logged():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            line = next(line for line in mounted.logged().splitlines() if "nodes-known" in line)
            known = int(line.split("nodes=")[1].split()[0])
            self.assertLess(known, 3000)


if __name__ == "__main__":
    unittest.main()
