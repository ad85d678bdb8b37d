"""Mail that is large, much, or not to be taken, as it is copied into a mailbox's folder of the mount."""
import errno
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from files import read, write
from mount_case import MESSAGE, MountCase
from mounted import Mounted
from stack import SANITIZED, Stack

MIB = 1 << 20
MESSAGE_BYTES_MAX = 512 * MIB  # daemon/base/limits.h


def can_mount():
    """Whether file systems of a chosen size can be made here."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as directory:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", directory], capture_output=True, check=False).returncode != 0:
            return False
        subprocess.run(["umount", directory], check=True)
    return True


def unmount(directory):
    """As soon as nobody uses it: a mount's program ends, and closes its temporary files, after the mount has gone."""
    for _ in range(600):
        done = subprocess.run(["umount", directory], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError(done.stderr)


class Mail(MountCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="canopy-it.")
        self.addCleanup(shutil.rmtree, self.scratch)
        self.box = self.folder(self.mounted)
        os.mkdir(self.box)

    def folder(self, mounted):
        return mounted.path("accounts", self.domain, self.local, self._testMethodName)

    def file_system(self, size):
        """A file system of this size, empty."""
        directory = os.path.join(self.scratch, "small")
        os.mkdir(directory)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "none", directory], check=True)
        self.addCleanup(unmount, directory)
        return directory

    def test_a_hundred_mebibytes_come_back_as_they_were_and_take_no_memory(self):
        source = os.path.join(self.scratch, "large.eml")
        with open(source, "wb") as file:
            file.write(MESSAGE)
            for _ in range(100):
                file.write(os.urandom(MIB))
        subprocess.run(["cp", source, self.box], check=True, timeout=250)
        self.assertEqual(os.listdir(self.box), ["1.eml"])
        delivered = os.path.join(self.box, "1.eml")
        self.assertEqual(os.stat(delivered).st_size, os.stat(source).st_size)
        subprocess.run(["cmp", source, delivered], check=True, timeout=250)
        if not SANITIZED:
            self.assertLess(self.mounted.peak_memory_bytes(), 64 * MIB)  # 13 MiB were seen

    def test_one_that_is_larger_than_any_may_be_is_refused_whole(self):
        path = os.path.join(self.box, "endless.eml")
        writing = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(writing, MESSAGE)
        self.refused(errno.EFBIG, lambda: os.pwrite(writing, b"xx", MESSAGE_BYTES_MAX - 1))
        self.refused(errno.EFBIG, lambda: os.ftruncate(writing, MESSAGE_BYTES_MAX + 1))
        self.refused(errno.EFBIG, lambda: os.fsync(writing))
        self.refused(errno.EFBIG, lambda: os.close(writing))
        self.assertEqual(os.listdir(self.box), [])
        write(path, MESSAGE)
        self.assertEqual([read(os.path.join(self.box, name)) for name in os.listdir(self.box)], [MESSAGE])

    def test_over_quota_is_told_at_close_and_the_log_names_the_account(self):
        name = self.stack.account(1)[0]
        self.stack.ctl("settings", "set", name, "StorageLimit=#1000000")
        inbox = self.mounted.path("accounts", *reversed(name.split("@")), "INBOX")
        for size in (2 * MIB, MIB):  # in pieces and at once
            with open(os.path.join(inbox, "large.eml"), "wb") as file:
                file.write(MESSAGE + bytes(size - len(MESSAGE)))
                file.flush()
                self.refused(errno.EDQUOT, file.close)
        self.assertEqual(os.listdir(inbox), [])
        self.assertIn("delivery-refused object=" + name, self.mounted.logged())
        source = os.path.join(self.scratch, "large.eml")
        write(source, MESSAGE + bytes(2 * MIB))
        copied = subprocess.run(["cp", source, inbox], capture_output=True, text=True, check=False)
        self.assertNotEqual(copied.returncode, 0)
        self.assertIn(os.strerror(errno.EDQUOT), copied.stderr)
        write(os.path.join(inbox, "small.eml"), MESSAGE)
        self.assertEqual(os.listdir(inbox), ["1.eml"])

    @unittest.skipUnless(can_mount(), "no file systems can be mounted here")
    def test_where_no_room_is_left_for_what_waits_nothing_is_delivered(self):
        spool = self.file_system("1m")
        with Mounted(self.stack, env={"TMPDIR": spool}) as mounted:
            path = os.path.join(self.folder(mounted), "large.eml")
            writing = os.open(path, os.O_WRONLY | os.O_CREAT)
            self.refused(errno.ENOSPC, lambda: [os.write(writing, bytes(MIB // 4)) for _ in range(8)])
            self.refused(errno.ENOSPC, lambda: os.close(writing))
            self.assertEqual(os.listdir(self.folder(mounted)), [])
            write(path, MESSAGE)
            self.assertEqual(os.listdir(self.folder(mounted)), ["1.eml"])

    @unittest.skipUnless(can_mount(), "no file systems can be mounted here")
    def test_a_full_store_is_told_at_close(self):
        with Stack(directory=self.file_system("200m")) as stack, Mounted(stack) as mounted:
            name = stack.account(0)[0]
            inbox = mounted.path("accounts", *reversed(name.split("@")), "INBOX")
            write(os.path.join(inbox, "new.eml"), MESSAGE)
            stack.stop()
            space = os.statvfs(stack.directory)
            with open(os.path.join(stack.directory, "filler"), "wb") as file:
                os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - 8 * MIB)
            stack.start()
            self.refused(errno.ENOSPC, lambda: write(os.path.join(inbox, "new.eml"), MESSAGE))
            self.assertIn("delivery-refused object=" + name, mounted.logged())
            os.unlink(os.path.join(inbox, "1.eml"))  # by which there is room again
            self.assertEqual(os.listdir(inbox), [])

    @unittest.skipUnless(shutil.which("rsync"), "rsync is not installed")
    def test_rsync_delivers_a_folder_of_messages(self):
        source = os.path.join(self.scratch, "from")
        os.makedirs(os.path.join(source, "Sub"))
        contents = {}
        for i, name in enumerate(("a.eml", "1600000000.M1P2.host:2,S", "Sub/c.eml")):
            contents[name] = MESSAGE + b"%d\r\n" % i
            write(os.path.join(source, name), contents[name])
            os.utime(os.path.join(source, name), (1_600_000_000 + i, 1_600_000_000 + i))
        for _ in range(2):  # the second time the names still lead to what was delivered, and nothing is done
            done = subprocess.run(["rsync", "-a", source + "/", self.box], capture_output=True, text=True, timeout=100, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(sorted(os.listdir(self.box)), ["1.eml", "2.eml", "Sub"])
            self.assertEqual(os.listdir(os.path.join(self.box, "Sub")), ["1.eml"])
        delivered = [os.path.join(self.box, name) for name in ("1.eml", "2.eml", "Sub/1.eml")]
        self.assertEqual({read(path) for path in delivered}, set(contents.values()))
        for name, content in contents.items():
            path, = (path for path in delivered if read(path) == content)
            self.assertEqual(os.stat(path).st_mtime, os.stat(os.path.join(source, name)).st_mtime)
        # What has the name of a message is not put in its place.
        write(os.path.join(source, "1.eml"), b"Subject: other\r\n\r\n")
        done = subprocess.run(["rsync", "-a", os.path.join(source, "1.eml"), self.box], capture_output=True, text=True, timeout=100, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(os.strerror(errno.EPERM), done.stderr)
        self.assertIn(read(os.path.join(self.box, "1.eml")), contents.values())

    def test_modes_and_owners_that_a_copy_would_keep_are_passed_over(self):
        source = os.path.join(self.scratch, "from")
        os.mkdir(source)
        write(os.path.join(source, "a.eml"), MESSAGE)
        os.chmod(os.path.join(source, "a.eml"), 0o640)
        subprocess.run(["cp", "-a", source, self.box], check=True)
        delivered = os.path.join(self.box, "from", "1.eml")
        self.assertEqual(read(delivered), MESSAGE)
        os.chmod(delivered, 0o640)
        self.assertEqual(os.stat(delivered).st_mode & 0o7777, 0o600)
        os.utime(delivered, (os.stat(delivered).st_atime, os.stat(delivered).st_mtime))
        self.refused(errno.EPERM, lambda: os.utime(delivered, (1, 1)))
        self.refused(errno.EPERM, lambda: os.chmod(self.mounted.path("accounts"), 0o755))


if __name__ == "__main__":
    unittest.main()
