"""What inotify(7) tells of a mount: what is done through it, and nothing of what others do (docs/operations/mount.md)."""
import ctypes
import os
import select
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

from files import read, write
from mount_case import MESSAGE, TwoMountsCase

SECONDS = 60  # a generous bound
MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x4, 0x8, 0x40, 0x80, 0x100, 0x200
NAMES = {MODIFY: "modify", ATTRIB: "attrib", CLOSE_WRITE: "close_write", MOVED_FROM: "moved_from", MOVED_TO: "moved_to",
         CREATE: "create", DELETE: "delete"}
HEAD = struct.Struct("iIII")


class Watch:
    """Of one directory: the changes of its entries, as `inotifywait -m` prints them."""

    def __init__(self, directory):
        libc = ctypes.CDLL(None, use_errno=True)
        self.file = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if libc.inotify_add_watch(self.file, os.fsencode(directory), sum(NAMES)) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.file)

    def until(self, last):
        """What has come, each repetition once, until that has."""
        events = []
        end = time.monotonic() + SECONDS
        while not events or events[-1] != last:
            if not select.select([self.file], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"{last} does not come after {events}")
            data = os.read(self.file, 65536)
            while data:
                _, mask, _, size = HEAD.unpack_from(data)
                name = data[HEAD.size:HEAD.size + size].rstrip(b"\0").decode()
                event = (NAMES.get(mask & sum(NAMES), hex(mask)), name)
                if not events or events[-1] != event:
                    events.append(event)
                data = data[HEAD.size + size:]
        return events


class Inotify(TwoMountsCase):
    def until(self, look):
        end = time.monotonic() + SECONDS
        while not look():
            self.assertLess(time.monotonic(), end, "it does not show")
            time.sleep(0.001)

    def test_what_is_done_through_the_same_mount_is_told(self):
        top = self.one.path(self.top)
        with Watch(top) as watch:
            path = os.path.join(top, "file")
            write(path, b"content")
            os.chmod(path, 0o600)
            os.rename(path, path + ".new")
            os.unlink(path + ".new")
            os.mkdir(os.path.join(top, "directory"))
            os.rmdir(os.path.join(top, "directory"))
            self.assertEqual(watch.until(("delete", "directory")),
                             [("create", "file"), ("modify", "file"), ("close_write", "file"), ("attrib", "file"),
                              ("moved_from", "file"), ("moved_to", "file.new"), ("delete", "file.new"),
                              ("create", "directory"), ("delete", "directory")])

    def test_what_others_do_shows_and_is_not_told(self):
        here, there = self.paths("file")
        write(here, b"before")
        self.until(lambda: os.path.exists(there))
        with Watch(os.path.dirname(here)) as watch:
            write(there, b"content")
            self.until(lambda: read(here) == b"content")
            os.chmod(there, 0o600)
            self.until(lambda: os.stat(here).st_mode & 0o777 == 0o600)
            os.rename(there, there + ".new")
            self.until(lambda: os.path.exists(here + ".new") and not os.path.exists(here))
            os.unlink(there + ".new")
            self.until(lambda: not os.path.exists(here + ".new"))
            write(os.path.join(os.path.dirname(here), "own"), b"")
            self.assertEqual(watch.until(("close_write", "own")), [("create", "own"), ("close_write", "own")])

    @unittest.skipUnless(shutil.which("tail"), "tail is not installed")
    def test_tail_follows_what_others_append(self):
        here, there = self.paths("log")
        write(here, b"before\n")
        self.until(lambda: os.path.exists(there))
        with subprocess.Popen(["tail", "-n", "+1", "-f", here], stdout=subprocess.PIPE, text=True) as tail:
            try:
                self.assertEqual(tail.stdout.readline(), "before\n")
                with open(there, "ab") as file:
                    file.write(b"by another\n")
                self.assertEqual(tail.stdout.readline(), "by another\n")
            finally:
                tail.kill()

    def test_mail_is_told_of_by_the_name_that_it_was_copied_as(self):
        name = self.stack.account(0)[0]
        inbox = self.one.path("accounts", name.split("@")[1], name.split("@")[0], "INBOX")
        with Watch(inbox) as watch, tempfile.NamedTemporaryFile(suffix=".eml") as file:
            file.write(MESSAGE)
            file.flush()
            self.stack.ctl("mailbox", "import", name, file.name)
            self.until(lambda: len(os.listdir(inbox)) == 1)
            write(os.path.join(inbox, "copied.eml"), MESSAGE)
            self.assertEqual(watch.until(("close_write", "copied.eml")),
                             [("create", "copied.eml"), ("modify", "copied.eml"), ("close_write", "copied.eml")])
            self.until(lambda: len(os.listdir(inbox)) == 2)
            uid = max(os.listdir(inbox))
            os.unlink(os.path.join(inbox, uid))
            self.assertEqual(watch.until(("delete", uid)), [("delete", uid)])


if __name__ == "__main__":
    unittest.main()
