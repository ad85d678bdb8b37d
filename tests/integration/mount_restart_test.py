"""What the mount's users see while the daemon is killed and started again."""
import errno
import os
import threading
import time
import unittest

from mounted import Mounted
from stack import Stack

KILLS = 6


class Names:
    """Changes names in a directory, one after the other, and checks each result."""

    def __init__(self, top):
        self.top = top
        self.over = threading.Event()
        self.rounds = 0
        self.failed = None
        self.thread = threading.Thread(target=self.run)

    def path(self, *parts):
        return os.path.join(self.top, *parts)

    def refused(self, error_number, call, *arguments, **named):
        try:
            call(*arguments, **named)
        except OSError as refused:
            if refused.errno == error_number:
                return
            raise
        raise AssertionError(f"{call.__name__}{arguments} was not refused")

    def round(self, number):
        one, two, three = self.path(f"{number}-one"), self.path(f"{number}-two"), self.path(f"{number}-three")
        directory = self.path(f"{number}-directory")
        os.close(os.open(one, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
        self.refused(errno.EEXIST, os.open, one, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
        os.link(one, two)
        self.refused(errno.EEXIST, os.link, one, two)
        os.mkdir(directory, 0o750)
        self.refused(errno.EEXIST, os.mkdir, directory)
        os.rename(two, os.path.join(directory, "moved"))
        self.refused(errno.ENOENT, os.rename, two, three)
        os.symlink("target", three)
        self.refused(errno.EEXIST, os.symlink, "target", three)
        self.refused(errno.ENOTEMPTY, os.rmdir, directory)
        os.rename(os.path.join(directory, "moved"), one)  # both are one file: nothing happens
        os.unlink(os.path.join(directory, "moved"))
        self.refused(errno.ENOENT, os.unlink, os.path.join(directory, "moved"))
        os.rmdir(directory)
        self.refused(errno.ENOENT, os.rmdir, directory)
        os.rename(one, three)
        self.refused(errno.ENOENT, os.unlink, one)
        assert os.stat(three).st_nlink == 1 and not os.path.islink(three)
        os.unlink(three)
        assert os.listdir(self.top) == [], os.listdir(self.top)

    def run(self):
        try:
            while not self.over.is_set():
                self.round(self.rounds)
                self.rounds += 1
        except BaseException as error:  # shown by the test's own thread
            self.failed = error


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class MountAndKilledDaemon(unittest.TestCase):
    def test_what_changes_names_is_done_once(self):
        with Stack() as stack, Mounted(stack) as mounted:
            top = mounted.path("SharedDomains", stack.facts["domain"], "names")
            os.mkdir(top)
            names = Names(top)
            names.thread.start()
            for _ in range(KILLS):
                rounds = names.rounds
                while names.rounds < rounds + 3 and names.failed is None:
                    time.sleep(0.01)
                stack.stop(9)
                stack.start()
            names.over.set()
            names.thread.join(120)
            if names.failed is not None:
                raise names.failed
            self.assertGreater(names.rounds, 3 * KILLS)
            self.assertNotIn("operation-failed", mounted.logged())

    def test_a_file_that_was_removed_while_it_was_open_outlives_the_daemon(self):
        with Stack() as stack, Mounted(stack) as one, Mounted(stack) as two:
            kept = os.path.join(stack.facts["base"], ".canopy", "unlinked")

            def path(mount, name):
                return mount.path("SharedDomains", stack.facts["domain"], name)

            for name in ("removed", "replaced", "elsewhere", "later"):
                with open(path(one, name), "wb") as file:
                    file.write(name.encode())
            files = {name: open(path(one, name), "r+b", buffering=0) for name in ("removed", "replaced", "elsewhere", "later")}
            os.unlink(path(one, "removed"))
            with open(path(one, "new"), "wb") as file:
                file.write(b"another")
            os.rename(path(one, "new"), path(one, "replaced"))
            os.unlink(path(two, "elsewhere"))  # of a mount that has not opened it
            self.assertEqual(len(os.listdir(kept)), 3)
            stack.stop(9)
            stack.start()
            os.unlink(path(one, "later"))  # before the file was opened again
            for name, file in files.items():
                self.assertEqual(file.read(), name.encode(), name)
                file.write(b" and more")
                os.fsync(file.fileno())
                if name != "elsewhere":
                    self.assertEqual(os.fstat(file.fileno()).st_nlink, 0, name)
            stack.stop(9)
            stack.start()
            for name, file in files.items():
                file.seek(0)
                self.assertEqual(file.read(), name.encode() + b" and more", name)
                file.close()
            with open(path(two, "replaced"), "rb") as file:
                self.assertEqual(file.read(), b"another")
            deadline = time.monotonic() + 60
            while os.listdir(kept) and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertEqual(os.listdir(kept), [])


if __name__ == "__main__":
    unittest.main()
