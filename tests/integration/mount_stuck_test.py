"""One store of two stands still: those who use it through the mount wait, nobody else does."""
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import unittest

import fuse_requests
from files import read, write
from mounted import Mounted
from stack import SOURCE, Stack

sys.path.append(os.path.join(SOURCE, "tools"))
from ganesha import Ganesha, why_unavailable  # pylint: disable=wrong-import-position

READERS = 200        # more than the kernel lets a file system have in the background when nothing is said
BYTES = 256 << 10    # more than is read ahead at first
ROUNDS = 5           # each must have ended before the store is given up


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
@unittest.skipIf(fuse_requests.why_not(), f"NOT TESTED: {fuse_requests.why_not()}")
@unittest.skipIf(why_unavailable(), f"NOT TESTED: {why_unavailable()}")
class StuckStore(unittest.TestCase):
    def setUp(self):
        directory = tempfile.mkdtemp(prefix="canopy-nfs.")
        self.addCleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
        self.server = Ganesha(directory)
        self.addCleanup(self.server.kill)
        self.server.start()
        self.stack = Stack()
        self.addCleanup(self.stack.__exit__)
        self.stack.start()
        self.stack.ctl("domain", "create", "many.example", "--account-foldering", "1")
        self.stack.ctl("store", "add", "nas1", self.server.address(), "--new")
        self.stack.ctl("mounts", "set", "-", stdin="/ root\nSharedDomains/many.example/[a-d].sub nas1\n")
        self.mounted = Mounted(self.stack)
        self.addCleanup(self.mounted.__exit__)
        self.requests = fuse_requests.FuseRequests(self.mounted)
        self.requests.__enter__()
        self.addCleanup(self.requests.__exit__)
        self.stuck = self.mounted.path("SharedDomains", "many.example", "a.sub")
        self.sound = self.mounted.path("SharedDomains", "many.example", "notes")
        for each in (self.stuck, self.sound):
            os.mkdir(each)

    def others_work(self, number):
        """What somebody does who has nothing to do with that store."""
        large = os.path.join(self.sound, "large")
        self.assertEqual(read(large), self.content)
        path = os.path.join(self.sound, f"file-{number}")
        write(path, b"content")
        os.rename(path, path + ".new")
        self.assertEqual(read(path + ".new"), b"content")
        self.assertIn("large", os.listdir(self.sound))
        accounts = self.mounted.path("accounts", self.stack.facts["domain"])
        for name in os.listdir(accounts):
            self.assertIn("INBOX", os.listdir(os.path.join(accounts, name)))
            read(os.path.join(accounts, name, "settings"))

    def round(self, number):
        """Whether all who read from the store were still waiting when the others had done their work."""
        files = []
        while json.loads(self.stack.ctl("--json", "store", "show", "nas1").stdout)["state"] != "up":
            time.sleep(0.1)
        for i in range(READERS):  # what is opened is read anew
            files.append(os.open(os.path.join(self.stuck, f"file-{i}"), os.O_RDONLY))
        ended = []

        def wait(file):
            try:
                os.pread(file, BYTES, 0)
            except OSError:
                pass  # the store is not answering
            ended.append(file)

        readers = [threading.Thread(target=wait, args=(file,)) for file in files]
        self.server.stop()
        try:
            for reader in readers:
                reader.start()
            stuck = self.requests.until(READERS, seconds=2)  # or some have given up by now
            self.others_work(number)
            stuck = stuck and not ended
        finally:
            self.server.go_on()
        for reader in readers:
            reader.join()
        for file in files:
            os.close(file)
        return stuck

    def test_those_who_change_and_look_up_names_in_it_keep_nobody_else_waiting(self):
        self.content = os.urandom(1 << 20)
        write(os.path.join(self.sound, "large"), self.content)
        other = Mounted(self.stack)
        self.addCleanup(other.__exit__)
        theirs = os.path.join(other.directory, os.path.relpath(self.sound, self.mounted.directory))
        self.assertEqual(read(os.path.join(theirs, "large")), self.content)
        for number in range(ROUNDS):
            while json.loads(self.stack.ctl("--json", "store", "show", "nas1").stdout)["state"] != "up":
                time.sleep(0.1)
            ended = []

            def attempt(operation, *paths):
                try:
                    operation(*paths)
                except OSError:
                    pass  # the store is not answering
                ended.append(operation)

            names = [os.path.join(self.stuck, f"{what}-{number}") for what in ("made", "looked-for", "file")]
            waiting = [threading.Thread(target=attempt, args=given) for given in
                       ((os.mkdir, names[0]), (os.stat, names[1]), (write, names[2], b"x"))]
            self.server.stop()
            try:
                for thread in waiting:
                    thread.start()
                stuck = self.requests.until(1, seconds=2)
                self.others_work(number)
                # What another mount changes elsewhere is told all the same.
                write(os.path.join(theirs, f"told-{number}"), b"told")
                end = time.monotonic() + 60
                while f"told-{number}" not in os.listdir(self.sound):
                    self.assertLess(time.monotonic(), end, "it is not told")
                stuck = stuck and not ended
            finally:
                self.server.go_on()
            for thread in waiting:
                thread.join()
            if stuck:
                return
        self.fail("the others got their answers only when those who waited had theirs")

    def test_those_who_read_from_it_keep_nobody_else_waiting(self):
        self.content = os.urandom(4 << 20)
        write(os.path.join(self.sound, "large"), self.content)
        for i in range(READERS):
            write(os.path.join(self.stuck, f"file-{i}"), bytes(BYTES))
        for number in range(ROUNDS):
            if self.round(number):
                return
        self.fail("the others got their answers only when those who waited had theirs")


if __name__ == "__main__":
    unittest.main()
