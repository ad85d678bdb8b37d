"""Raw files on a store that is full or has become read-only: programs are told which, nothing is half done, and all goes on when
the store takes files again."""
import errno
import os
import shutil
import subprocess
import tempfile
import unittest

from files import error_of, read, write
from mount_mail_test import can_mount, unmount
from mounted import Mounted
from stack import Stack

MIB = 1 << 20
SECONDS = 60  # a generous bound


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
@unittest.skipUnless(can_mount(), "no file systems can be mounted here")
class OnSmallStore(unittest.TestCase):
    """A store of its own for one folder of a domain; the rest of the tree lies elsewhere."""

    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="canopy-full.")
        self.addCleanup(shutil.rmtree, self.scratch)
        self.store = os.path.join(self.scratch, "store")
        os.mkdir(self.store)
        self.make_store()
        self.addCleanup(unmount, self.store)
        self.stack = Stack()
        self.addCleanup(self.stack.__exit__)
        self.stack.start()
        self.stack.ctl("domain", "create", "many.example", "--account-foldering", "1")
        self.stack.ctl("store", "add", "small", "dir:" + self.store, "--new", "--reserve", "0")
        self.stack.ctl("mounts", "set", "-", stdin="/ root\nSharedDomains/many.example/[a-d].sub small\n")
        self.mounted = Mounted(self.stack)
        self.addCleanup(self.mounted.__exit__)
        self.elsewhere = self.mounted.path("SharedDomains", "many.example", "notes")
        self.there = self.mounted.path("SharedDomains", "many.example", "a.sub")
        self.lies = os.path.join(self.store, "SharedDomains", "many.example", "a.sub")
        for directory in (self.there, self.elsewhere):
            os.mkdir(directory)

    def assert_as_it_lies(self):
        """The mount shows what the store has."""
        self.assertEqual(sorted(os.listdir(self.there)), sorted(os.listdir(self.lies)))
        for name in os.listdir(self.lies):
            self.assertEqual(read(os.path.join(self.there, name)), read(os.path.join(self.lies, name)), name)

    def others_work(self):
        path = os.path.join(self.elsewhere, "file")
        write(path, b"elsewhere")
        self.assertEqual(read(path), b"elsewhere")
        os.unlink(path)


class Full(OnSmallStore):
    def make_store(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", self.store], check=True, timeout=SECONDS)

    def test_writing_is_enospc_and_goes_on_when_there_is_room(self):
        large, kept, other = (os.path.join(self.there, name) for name in ("large", "kept", "other"))
        write(kept, b"before")
        with open(large, "wb", buffering=0) as file:
            written = 0
            with self.assertRaises(OSError) as refused:
                for _ in range(100):
                    written += file.write(b"x" * MIB)
            self.assertEqual(refused.exception.errno, errno.ENOSPC)
            self.assertGreater(written, 0)
            # A part of the last write may be there; nothing else is.
            there = os.stat(large).st_size
            self.assertTrue(written <= there < written + MIB, (written, there))
            self.assertEqual(read(large), b"x" * there)
            self.assert_as_it_lies()

            self.assertEqual(error_of(lambda: os.posix_fallocate(file.fileno(), there, 4 * MIB)), "ENOSPC")
            self.assertEqual(error_of(lambda: os.pwrite(file.fileno(), b"y" * MIB, 64 * MIB)), "ENOSPC")
            self.assertEqual(os.stat(large).st_size, there)
            self.assertEqual(error_of(lambda: os.symlink("t" * 3000, os.path.join(self.there, "link"))), "ENOSPC")
            self.assertEqual(error_of(lambda: write(other, b"z" * MIB)), "ENOSPC")
            source = os.path.join(self.scratch, "source")
            write(source, b"z" * MIB)
            copied = subprocess.run(["cp", source, os.path.join(self.there, "copy")], capture_output=True, text=True,
                                    timeout=SECONDS, check=False, env={**os.environ, "LC_ALL": "C"})
            self.assertNotEqual(copied.returncode, 0)
            self.assertIn("No space left on device", copied.stderr)
            self.assertEqual(read(kept), b"before")
            self.assertEqual(os.pwrite(file.fileno(), b"over", 0), 4)  # which takes no room
            self.assertEqual(read(large)[:8], b"overxxxx")
            self.assertNotIn("link", os.listdir(self.there))
            self.assert_as_it_lies()
            self.others_work()

            os.ftruncate(file.fileno(), MIB)  # by which there is room
            self.assertEqual(os.pwrite(file.fileno(), b"y" * MIB, MIB), MIB)
        self.assertEqual(read(large), b"over" + b"x" * (MIB - 4) + b"y" * MIB)
        subprocess.run(["cp", source, os.path.join(self.there, "copy")], check=True, timeout=SECONDS)
        write(other, b"z" * MIB)
        self.assertEqual(read(other), b"z" * MIB)
        self.assert_as_it_lies()


@unittest.skipUnless(shutil.which("mkfs.ext4"), "there is no mkfs.ext4")
class ReadOnly(OnSmallStore):
    """As ext4 becomes when it finds itself damaged."""

    def make_store(self):
        image = os.path.join(self.scratch, "image")
        with open(image, "wb") as file:
            file.truncate(64 * MIB)
        subprocess.run(["mkfs.ext4", "-q", image], check=True, timeout=SECONDS)
        done = subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, self.store], capture_output=True, text=True,
                              timeout=SECONDS, check=False)
        if done.returncode != 0:
            self.skipTest("no image can be mounted here: " + done.stderr)
        os.rmdir(os.path.join(self.store, "lost+found"))
        with open("/proc/mounts", encoding="utf-8") as mounts:
            self.device = next(line.split()[0] for line in mounts if line.split()[1] == self.store)
        self.trigger = f"/sys/fs/ext4/{os.path.basename(self.device)}/trigger_fs_error"
        if not os.access(self.trigger, os.W_OK):
            unmount(self.store)
            self.skipTest("this kernel's ext4 cannot be told to become read-only")

    def repair(self):
        """A copy of the disk is put right and takes its place: another program's mount namespace may hold on to the damaged
        file system for a while, and what is mounted from the same disk meanwhile is that one again."""
        unmount(self.store)
        os.sync()
        image, repaired = os.path.join(self.scratch, "image"), os.path.join(self.scratch, "repaired")
        shutil.copyfile(image, repaired)
        done = subprocess.run(["fsck.ext4", "-y", "-f", repaired], capture_output=True, text=True, check=False, timeout=SECONDS)
        self.assertIn(done.returncode, (0, 1), done.stdout + done.stderr)
        subprocess.run(["mount", "-o", "loop,rw", repaired, self.store], check=True, timeout=SECONDS)
        self.assertFalse(os.statvfs(self.store).f_flag & os.ST_RDONLY)

    def changes(self, file):
        """What each kind of change answers."""
        kept, new = os.path.join(self.there, "kept"), os.path.join(self.there, "new")
        attempts = {
            "write": lambda: os.pwrite(file.fileno(), b"X", 0), "cut": lambda: os.ftruncate(file.fileno(), 1),
            "open": lambda: os.close(os.open(kept, os.O_RDWR)), "create": lambda: write(new, b"new"),
            "mkdir": lambda: os.mkdir(new), "symlink": lambda: os.symlink("x", new), "link": lambda: os.link(kept, new),
            "rename": lambda: os.rename(kept, new), "unlink": lambda: os.unlink(kept), "chmod": lambda: os.chmod(kept, 0o600),
            "utimes": lambda: os.utime(kept, (1, 1)), "attribute": lambda: os.setxattr(kept, "user.x", b"1"),
        }
        return {what: error_of(attempt) for what, attempt in attempts.items()}

    def test_changes_are_erofs_and_go_on_after_a_repair(self):
        kept = os.path.join(self.there, "kept")
        write(kept, b"before")
        with open(kept, "r+b", buffering=0) as file:
            os.fsync(file.fileno())
            before = os.stat(os.path.join(self.lies, "kept"))
            with open(self.trigger, "w", encoding="ascii") as trigger:
                trigger.write("1")
            seen = self.changes(file)
            self.assertEqual(seen, dict.fromkeys(seen, "EROFS"))
            self.assertEqual(read(kept), b"before")
            self.assertEqual(os.listdir(self.there), ["kept"])
            after = os.stat(os.path.join(self.lies, "kept"))
            self.assertEqual((after.st_mode, after.st_nlink, after.st_mtime_ns, after.st_size),
                             (before.st_mode, before.st_nlink, before.st_mtime_ns, before.st_size))
            self.assertEqual(os.listxattr(os.path.join(self.lies, "kept")), [])
            self.assert_as_it_lies()
            self.others_work()

            self.stack.stop()
            self.repair()
            self.stack.start()
            self.assertEqual(os.pwrite(file.fileno(), b"B", 0), 1)  # the opening is the same
            os.fsync(file.fileno())
        self.assertEqual(read(kept), b"Before")
        write(os.path.join(self.there, "new"), b"new")
        os.rename(os.path.join(self.there, "new"), kept)
        self.assertEqual(read(kept), b"new")
        self.assert_as_it_lies()


if __name__ == "__main__":
    unittest.main()
