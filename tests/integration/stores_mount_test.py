"""Stores that are file systems of their own: how they are added and set, and what the mount shows of them."""
import errno
import json
import os
import shutil
import smtplib
import subprocess
import tempfile
import time
import unittest

from files import read, write
from mounted import Mounted
from stack import Stack
from thin_line_test import deliver

MIB = 1 << 20


def bytes_total(path):
    space = os.statvfs(path)
    return space.f_blocks * space.f_frsize


@unittest.skipUnless(os.geteuid() == 0, "NOT TESTED: only root mounts file systems")
class StoresOfTheirOwn(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="canopy-stores.")
        self.addCleanup(lambda: shutil.rmtree(self.work, ignore_errors=True))
        self.stack = Stack()
        self.addCleanup(self.stack.__exit__)
        self.stack.start()

    def file_system(self, name, *options):
        path = os.path.join(self.work, name)
        os.mkdir(path)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", path], capture_output=True, text=True,
                              timeout=60, check=False)
        if done.returncode != 0:
            self.skipTest(f"NOT TESTED: nothing can be mounted here: {done.stderr.strip()}")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", path], timeout=60, check=False))
        return path

    def json(self, *arguments, **more):
        return json.loads(self.stack.ctl("--json", *arguments, **more).stdout)

    def refused(self, text, *arguments):
        done = self.stack.ctl(*arguments, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(text, done.stderr)

    def two_stores(self):
        """And an account on each of them, and one on the root store."""
        paths = [self.file_system("disk1", "size=256m"), self.file_system("disk2", "size=512m")]
        for path in paths:
            added = self.json("store", "add", os.path.basename(path), "dir:" + path, "--new")
            self.assertEqual((added["state"], added["bytes_total"]), ("up", bytes_total(path)))
        self.stack.ctl("domain", "create", "many.example", "--account-foldering", "1")
        self.json("mounts", "set", "-", stdin="/ root\nSharedDomains/many.example/[a-d].sub disk1\n"
                                              "SharedDomains/many.example/[e-h].sub disk2\n")
        for name in ("abby", "emil", "xena"):
            self.stack.ctl("account", "create", "--no-password", name + "@many.example")
        return paths

    def until(self, holds):
        end = time.monotonic() + 60  # a generous bound
        while not holds():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)

    def test_one_that_is_read_only_is_refused_and_left_alone(self):
        path = self.file_system("disk1", "size=64m", "ro")
        self.refused("Read-only file system", "store", "add", "disk1", "dir:" + path, "--new")
        subprocess.run(["mount", "-o", "remount,rw", path], check=True, timeout=60)
        self.assertEqual(os.listdir(path), [])
        self.json("store", "add", "disk1", "dir:" + path, "--new")
        self.stack.ctl("store", "remove", "disk1")
        remount = ["mount", "-o", "remount,ro", path]  # what was removed may still be ended
        self.until(lambda: subprocess.run(remount, capture_output=True, timeout=60, check=False).returncode == 0)
        marker = read(os.path.join(path, ".canopy/store"))
        self.refused("Read-only file system", "store", "add", "disk1", "dir:" + path)  # also with its marker
        self.assertEqual(read(os.path.join(path, ".canopy/store")), marker)
        self.assertEqual([store["name"] for store in self.json("store", "list")], ["root"])

    def test_role_and_reserve_are_set_and_stay(self):
        self.two_stores()
        self.refused("a number of bytes", "store", "set", "disk1", "--reserve", "64m")
        usual = self.json("store", "show", "disk1")["reserve_bytes"]
        self.assertTrue(0 < usual < 256 * MIB, usual)
        self.assertEqual(self.json("store", "set", "disk1", "--role", "fast")["role"], "fast")
        stores = [row.split()[1] for row in self.json("mounts", "plan", "many.example")["rows"]]
        self.assertNotIn("disk1", stores)
        self.assertIn("disk2", stores)
        changed = self.json("store", "set", "disk1", "--role", "data", "--reserve", str(512 * MIB))  # more than there is
        self.assertEqual((changed["role"], changed["reserve_bytes"], changed["state"]), ("", 512 * MIB, "full"))
        self.until(lambda: self.delivered("abby@many.example") == 452)  # how full it is, is looked at once a second
        self.assertEqual(self.delivered("emil@many.example"), 250)
        self.stack.stop()
        self.stack.start()
        shown = self.json("store", "show", "disk1")
        self.assertEqual((shown["role"], shown["reserve_bytes"], shown["state"]), ("", 512 * MIB, "full"))
        changed = self.json("store", "set", "disk1", "--reserve", "default")
        self.assertEqual((changed["reserve_bytes"], changed["state"]), (usual, "up"))
        self.until(lambda: self.delivered("abby@many.example") == 250)

    def delivered(self, account):
        """The answer to mail for it."""
        try:
            deliver(self.stack, [account])
            return 250
        except smtplib.SMTPRecipientsRefused as refused:
            return refused.recipients[account][0]
        except smtplib.SMTPDataError as refused:
            return refused.smtp_code

    @unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
    def test_the_mount_shows_one_tree_of_them(self):
        disk1, disk2 = (bytes_total(path) for path in self.two_stores())
        root = bytes_total(self.stack.facts["base"])
        names = {"abby": "disk1", "emil": "disk2", "xena": "root"}
        domain = "SharedDomains/many.example"
        with Mounted(self.stack) as mounted:
            spaces = {domain + "/a.sub": disk1, domain + "/e.sub": disk2, domain + "/x.sub": root, "Settings": root,
                      domain + "/e.sub/emil.macnt": disk2, domain: root + disk1 + disk2, "SharedDomains": root + disk1 + disk2,
                      "": root + disk1 + disk2, "accounts": root + disk1 + disk2}
            self.assertEqual({path: bytes_total(mounted.path(path)) for path in spaces}, spaces)
            for name, store in names.items():
                location = read(mounted.path("accounts", "many.example", name, "location")).decode()
                self.assertIn(f"store {store}\n", location)
            here, there = mounted.path(domain, "a.sub", "file"), mounted.path(domain, "e.sub", "file")
            write(here, b"content")
            for attempt in (os.rename, os.link):
                with self.assertRaises(OSError) as refused:
                    attempt(here, there)
                self.assertEqual(refused.exception.errno, errno.EXDEV)
            shutil.move(here, there)  # which copies it then
            self.assertEqual(read(os.path.join(self.work, "disk2", domain, "e.sub/file")), b"content")
            numbers = self.numbers_of(mounted)
        self.assertEqual(len(set(numbers.values())), len(numbers))
        self.stack.stop()
        self.stack.start()
        with Mounted(self.stack) as mounted:
            self.assertEqual(self.numbers_of(mounted), numbers)

    def numbers_of(self, mounted):
        top = mounted.path("SharedDomains")
        return {os.path.relpath(os.path.join(folder, name), top): os.lstat(os.path.join(folder, name)).st_ino
                for folder, folders, files in os.walk(top) for name in [*folders, *files]
                if name.endswith((".sub", ".macnt", "file", ".example"))}


if __name__ == "__main__":
    unittest.main()
