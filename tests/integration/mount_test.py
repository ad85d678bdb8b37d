"""The account tree as a file system: canopy-mount against a real daemon."""
import errno
import os
import struct
import subprocess
import tempfile
import time
import unittest

from files import error_of, read, write
from mount_case import MESSAGE, MountCase
from mounted import Mounted
from stack import OVER_NFS, Stack


class Mount(MountCase):
    @classmethod
    def prepare(cls):
        with tempfile.NamedTemporaryFile(suffix=".eml") as file:
            file.write(MESSAGE)
            file.flush()
            cls.stack.ctl("mailbox", "import", cls.name, file.name)

    def raw(self, *parts):
        return self.mounted.path("SharedDomains", self.domain, *parts)

    def test_an_account_is_found_without_knowing_its_folder(self):
        self.assertEqual(sorted(os.listdir(self.mounted.directory)), ["Settings", "SharedDomains", "accounts"])
        self.assertEqual(os.listdir(self.mounted.path("accounts")), [self.domain])
        self.assertIn(self.local, os.listdir(self.mounted.path("accounts", self.domain)))
        self.assertEqual(sorted(os.listdir(self.account())), ["INBOX", "info", "location", "settings"])
        self.assertIn("Created", read(self.account("settings")).decode())
        location = dict(line.split(" ", 1) for line in read(self.account("location")).decode().splitlines())
        self.assertEqual(location["account"], self.name)
        self.assertTrue(os.path.isdir(self.mounted.path(location["directory"])))

    def test_messages_are_files(self):
        message = self.account("INBOX", "1.eml")
        self.assertEqual(read(message), MESSAGE)
        self.assertEqual(os.stat(message).st_size, len(MESSAGE))
        listed = self.stack.ctl("mailbox", "list", self.name, "--json").stdout
        self.assertIn('"INBOX"', listed)
        self.assertLess(abs(os.stat(message).st_mtime - time.time()), 24 * 3600)
        self.assertEqual(os.getxattr(message, "user.canopy.flags"), b"")
        found = subprocess.run(["grep", "-rl", "Hello from the mount", self.account()], capture_output=True, text=True,
                               timeout=60, check=False)
        self.assertEqual(found.stdout.strip(), message)

    def test_new_mail_shows_in_the_next_listing(self):
        before = os.listdir(self.account("INBOX"))
        with tempfile.NamedTemporaryFile(suffix=".eml") as file:
            file.write(MESSAGE)
            file.flush()
            self.stack.ctl("mailbox", "import", self.name, file.name)
        after = os.listdir(self.account("INBOX"))
        self.assertEqual(len(after), len(before) + 1)

    def test_names_that_do_not_exist(self):
        for path in (self.account("nothing"), self.account("INBOX", "77.eml"), self.account("INBOX", "01.eml"),
                     self.mounted.path("accounts", "nowhere.example"), self.mounted.path("accounts", self.domain, "x y"),
                     self.mounted.path("accounts", self.domain, self.local.upper()), self.mounted.path("nothing"),
                     self.mounted.path(".canopy")):
            with self.assertRaises(FileNotFoundError, msg=path):
                os.stat(path)

    def test_sub_mailboxes_are_folders_and_their_names_hide_nothing(self):
        for name in ("Work", "Work/12.eml", "settings", "Work/.hidden"):
            self.stack.ctl("mailbox", "create", self.name, name)
        self.assertIn("Work", os.listdir(self.account()))
        self.assertIn("%73ettings", os.listdir(self.account()))
        self.assertEqual(sorted(os.listdir(self.account("Work"))), ["%2Ehidden", "%312.eml"])
        for folder in ("%73ettings", "Work/%312.eml", "Work/%2Ehidden"):
            self.assertEqual(os.listdir(self.account(folder)), [])

    def test_the_raw_tree_is_a_file_system(self):
        top = self.raw("notes")
        os.mkdir(top, 0o750)
        write(os.path.join(top, "a"), b"hello")
        os.chmod(os.path.join(top, "a"), 0o640)
        os.utime(os.path.join(top, "a"), ns=(1_000_000_007, 2_000_000_009))
        os.link(os.path.join(top, "a"), os.path.join(top, "b"))
        os.symlink("a", os.path.join(top, "s"))
        os.rename(os.path.join(top, "a"), os.path.join(top, "c"))
        found = os.stat(os.path.join(top, "b"))
        self.assertEqual((found.st_mode & 0o7777, found.st_mtime_ns, found.st_nlink, found.st_size),
                         (0o640, 2_000_000_009, 2, 5))
        self.assertEqual(os.stat(os.path.join(top, "c")).st_ino, found.st_ino)
        self.assertEqual(os.readlink(os.path.join(top, "s")), "a")
        with open(os.path.join(top, "c"), "r+b") as file:
            os.truncate(file.fileno(), 1 << 20)
            os.pwrite(file.fileno(), b"end", 1 << 20)
            os.fsync(file.fileno())
            if not OVER_NFS:  # which cannot say where holes are
                self.assertEqual(os.lseek(file.fileno(), 5000, os.SEEK_DATA), 1 << 20)
        lies = os.path.join(self.stack.facts["base"], "SharedDomains", self.domain, "notes")
        self.assertEqual(read(os.path.join(lies, "b")), b"hello" + bytes((1 << 20) - 5) + b"end")
        os.unlink(os.path.join(top, "c"))
        os.unlink(os.path.join(top, "b"))
        with self.assertRaises(OSError) as refused:
            os.rmdir(top)
        self.assertEqual(refused.exception.errno, errno.ENOTEMPTY)
        os.unlink(os.path.join(top, "s"))
        os.rmdir(top)
        self.assertFalse(os.path.exists(lies))

    def test_an_open_file_that_was_removed_can_still_be_read(self):
        path = self.raw("removed")
        write(path, b"still here")
        with open(path, "rb") as file:
            os.unlink(path)
            self.assertEqual(file.read(), b"still here")
            self.assertEqual(os.fstat(file.fileno()).st_nlink, 0)

    @unittest.skipIf(OVER_NFS, "NFSv3 and NFSv4.0 have no extended attributes")
    def test_extended_attributes(self):
        path, link = self.raw("attributes"), self.raw("attributes-link")
        write(path, b"")
        os.symlink("attributes", link)
        self.assertEqual(os.listxattr(path), [])
        os.setxattr(path, "user.one", b"\x00value\xff", os.XATTR_CREATE)
        with self.assertRaises(FileExistsError):
            os.setxattr(path, "user.one", b"", os.XATTR_CREATE)
        os.setxattr(path, "user.two", bytes(3000))
        self.assertEqual(sorted(os.listxattr(path)), ["user.one", "user.two"])
        self.assertEqual(os.getxattr(path, "user.one"), b"\x00value\xff")
        lies = os.path.join(self.stack.facts["base"], "SharedDomains", self.domain, "attributes")
        self.assertEqual(os.getxattr(lies, "user.two"), bytes(3000))
        os.removexattr(path, "user.one")
        for attempt, error_number in ((lambda: os.getxattr(path, "user.one"), errno.ENODATA),
                                      (lambda: os.removexattr(path, "user.one"), errno.ENODATA),
                                      (lambda: os.setxattr(path, "user.one", b"", os.XATTR_REPLACE), errno.ENODATA),
                                      (lambda: os.setxattr(link, "user.x", b"", follow_symlinks=False), errno.EPERM),
                                      (lambda: os.setxattr(path, "security.x", b""), errno.EOPNOTSUPP),
                                      (lambda: os.setxattr(self.raw(self.local + ".macnt"), "user.x", b""), errno.EBUSY)):
            with self.assertRaises(OSError) as refused:
                attempt()
            self.assertEqual(refused.exception.errno, error_number)

    @unittest.skipUnless(OVER_NFS, "other stores have them")
    def test_extended_attributes_are_refused_where_the_store_has_none(self):
        path = self.raw("plain")
        write(path, b"")
        self.refused(errno.EOPNOTSUPP, lambda: os.setxattr(path, "user.one", b"1"))
        self.refused(errno.EOPNOTSUPP, lambda: os.listxattr(path))

    @unittest.skipIf(OVER_NFS, "NFSv3 and NFSv4.0 have no extended attributes")
    @unittest.skipUnless(os.geteuid() == 0, "other users' rights are tried as root")
    def test_access_lists_are_kept_and_obeyed(self):
        path = self.raw("listed")
        write(path, b"")
        os.chmod(path, 0o600)
        # Version 2; user::rw-, user:12345:rw-, group::---, mask::rw-, other::---
        entries = ((1, 6, 0xffffffff), (2, 6, 12345), (4, 0, 0xffffffff), (16, 6, 0xffffffff), (32, 0, 0xffffffff))
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        os.setxattr(path, "system.posix_acl_access", acl)
        self.assertEqual(os.getxattr(path, "system.posix_acl_access"), acl)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o660)
        os.chmod(path, 0o600)  # changes the mask
        self.assertEqual(os.getxattr(path, "system.posix_acl_access")[4 + 3 * 8 + 2], 0)

    def test_a_directory_of_many_entries_lists_each_once(self):
        top = self.raw("many")
        os.mkdir(top)
        names = {f"entry-{i:05}" for i in range(9000)}  # more than two pages
        lies = os.path.join(self.stack.facts["base"], "SharedDomains", self.domain, "many")
        for name in names:
            write(os.path.join(lies, name), b"")
        listed = os.listdir(top)
        self.assertEqual(len(listed), len(names))
        self.assertEqual(set(listed), names)
        self.assertEqual(sum(entry.stat().st_size for entry in os.scandir(top)), 0)

    def test_a_reader_that_removes_what_it_reads_misses_nothing(self):
        top = self.raw("removed while read")
        os.mkdir(top)
        names = {f"entry-{i:05}" for i in range(6000)}
        for name in names:
            write(os.path.join(top, name), b"")
        seen = set()
        for number, entry in enumerate(os.scandir(top)):  # names only at first, then attributes, and names again
            if number % 2000 > 1000:
                os.stat(entry.path)
            os.unlink(entry.path)
            seen.add(entry.name)
        self.assertEqual(seen, names)
        os.rmdir(top)

    @staticmethod
    def state_of(directory):
        """What lies in it, and all that could have been changed about it."""
        found = {}
        for path in (directory, *(os.path.join(directory, name) for name in sorted(os.listdir(directory)))):
            at = os.lstat(path)
            content = None if os.path.isdir(path) else read(path)
            found[path] = (at.st_mode, at.st_uid, at.st_gid, at.st_nlink, at.st_size, at.st_mtime_ns, content)
        return found

    def test_files_of_an_account_are_written_only_while_it_is_suspended(self):
        directory = self.raw(self.local + ".macnt")
        slices = [name for name in os.listdir(directory) if name.endswith(".slice")]
        self.assertTrue(read(os.path.join(directory, slices[0])))
        slice_file, new = os.path.join(directory, slices[0]), os.path.join(directory, "new")
        outside = self.raw("outside")
        write(outside, b"outside")
        lies = os.path.join(self.stack.facts["base"], os.path.relpath(directory, self.mounted.directory))
        before = self.state_of(lies)
        with open(slice_file, "rb") as reading:
            for attempt in (lambda: write(new, b""),
                            lambda: os.open(slice_file, os.O_RDWR),
                            lambda: os.unlink(slice_file),
                            lambda: os.rename(directory, self.raw("elsewhere.macnt")),
                            lambda: os.rename(slice_file, new),
                            lambda: os.rename(outside, new),
                            lambda: os.truncate(slice_file, 0),
                            lambda: os.truncate(slice_file, 1 << 20),
                            lambda: os.chmod(slice_file, 0o777),
                            lambda: os.chmod(directory, 0o777),
                            lambda: os.chown(slice_file, 7, 7),
                            lambda: os.chown(directory, 7, 7),
                            lambda: os.utime(slice_file, (1, 1)),
                            lambda: os.utime(directory, (1, 1)),
                            lambda: os.utime(reading.fileno(), (1, 1)),
                            lambda: os.fchmod(reading.fileno(), 0o777),
                            lambda: os.link(slice_file, new),
                            lambda: os.link(slice_file, self.raw("linked")),
                            lambda: os.link(outside, new),
                            lambda: os.mkdir(new),
                            lambda: os.symlink("target", new),
                            lambda: os.rename(self.raw(), self.mounted.path("SharedDomains", "other.example"))):
                self.assertEqual(error_of(attempt), "EBUSY")
            # Without an opening for writing there is nothing that could reserve or cut.
            self.assertEqual(error_of(lambda: os.posix_fallocate(reading.fileno(), 0, 1 << 20)), "EBADF")
            for flags in ("-l 1048576", "-p -o 0 -l 4096", "-z -o 0 -l 4096"):  # fallocate(1) opens for reading and writing
                done = subprocess.run(["fallocate", *flags.split(), slice_file], capture_output=True, text=True, timeout=60,
                                      check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(os.strerror(errno.EBUSY), done.stderr)
        self.assertEqual(self.state_of(lies), before)
        os.unlink(outside)
        self.assertIn(f"suspend the account first: canopyctl account suspend {self.name}", self.mounted.logged())
        other = self.stack.account(1)[0]
        self.stack.ctl("account", "suspend", other)
        path = self.raw(other.split("@")[0] + ".macnt", "new")
        file = open(path, "wb", buffering=0)
        file.write(b"written by hand")
        self.stack.ctl("account", "resume", other)
        for attempt in (lambda: file.write(b"late"), lambda: os.ftruncate(file.fileno(), 5),
                        lambda: os.fchmod(file.fileno(), 0o777), lambda: os.posix_fallocate(file.fileno(), 0, 1 << 20)):
            self.assertEqual(error_of(attempt), "EBUSY")
        file.close()
        self.stack.ctl("account", "suspend", other)
        self.assertEqual(read(path), b"written by hand")
        os.unlink(path)
        self.stack.ctl("account", "resume", other)

    @unittest.skipIf(OVER_NFS, "what is changed on its disk the NFS server itself notices late")
    def test_another_clients_change_shows_soon(self):
        lies = os.path.join(self.stack.facts["base"], "SharedDomains", self.domain, "seen")
        self.assertFalse(os.path.exists(self.raw("seen")))
        write(lies, b"1")
        time.sleep(0.1)  # what is stated in docs/operations/mount.md
        self.assertEqual(read(self.raw("seen")), b"1")
        write(lies, b"12")
        time.sleep(0.1)
        self.assertEqual(read(self.raw("seen")), b"12")
        os.unlink(lies)
        time.sleep(0.1)
        self.assertFalse(os.path.exists(self.raw("seen")))


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class MountAndDaemon(unittest.TestCase):
    def test_the_mount_outlives_the_daemon(self):
        with Stack() as stack, Mounted(stack) as mounted:
            directory = mounted.path("SharedDomains", stack.facts["domain"])
            with open(os.path.join(directory, "file"), "w+b", buffering=0) as file:
                file.write(b"before")
                os.fsync(file.fileno())
                stack.stop(9)
                stack.start()
                file.write(b" and after")
                os.fsync(file.fileno())
            self.assertEqual(read(os.path.join(directory, "file")), b"before and after")
            os.mkdir(os.path.join(directory, "new"))

    def test_the_stack_shows_it(self):
        with tempfile.TemporaryDirectory() as directory, Stack(mount=directory) as stack:
            self.assertEqual(stack.facts["mount"], directory)
            self.assertEqual(os.listdir(os.path.join(directory, "accounts")), [stack.facts["domain"]])
            stack.stop()
            self.assertEqual(os.listdir(directory), [])

    def test_wrong_use_is_said(self):
        with Stack() as stack:
            for arguments, words in ((["-o", "nonsense"], "it is no option of canopy-mount"),
                                     (["-o", "uid=x"], "it takes a number"),
                                     (["-o", "nodes=nan"], "it takes a number"),
                                     (["-o", "cache_ms=-1"], "it takes a number")):
                with self.assertRaises(RuntimeError) as refused:
                    Mounted(stack, *arguments)
                self.assertIn(words, str(refused.exception))


if __name__ == "__main__":
    unittest.main()
