"""Programs that people use on files, in the mount's raw tree."""
import filecmp
import os
import pty
import random
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import threading
import unittest

from files import write
from mount_case import MountCase
from stack import OVER_NFS

SECONDS = 120  # a bound for machines that are busy
# NFS before 4.2 has no extended attributes, and access lists are such.
RSYNC = "-aH" if OVER_NFS else "-aHAX"
GIT = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A",
       "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
       "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


def run(*command, **options):
    """The finished program's output; its failing fails the test."""
    environment = dict(os.environ, LC_ALL="C", **GIT)
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False,
                          env=environment, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def access_list():
    """An ACL that lets user 1000 read, as Linux keeps it (include/uapi/linux/posix_acl_xattr.h)."""
    nobody = 0xffffffff
    entries = ((0x01, 6, nobody), (0x02, 4, 1000), (0x04, 4, nobody), (0x10, 4, nobody), (0x20, 4, nobody))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def make_tree(top, files=120):
    """Files of many sizes, modes and times, links, holes, attributes, names in odd bytes: the same each time."""
    numbers = random.Random(4)
    for i in range(files):
        directory = os.path.join(top, f"d{i % 7}", f"e{i % 3}")
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, f"file {i}")
        write(path, numbers.randbytes(numbers.randrange(0, 30_000)))
        os.chmod(path, numbers.choice((0o644, 0o600, 0o755, 0o440)))
        os.utime(path, ns=(10**18 + i, 10**18 + i * 1_000_007))
    first = os.path.join(top, "d0", "e0", "file 0")
    os.link(first, os.path.join(top, "another name"))
    os.symlink("d0/e0/file 0", os.path.join(top, "a link"))
    os.symlink("nowhere", os.path.join(top, "a dangling link"))
    os.makedirs(os.path.join(os.fsencode(top), b"odd \xff\xfe", b"n" * 255))
    with open(os.path.join(top, "holes"), "wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"in the middle")
    os.setxattr(first, "user.note", b"kept")
    os.setxattr(first, "system.posix_acl_access", access_list())


def differences(one, other):
    """What rsync would do to make `other` like `one`: content, links, modes, times, owners, ACLs and attributes."""
    return run("rsync", RSYNC + "nic", "--delete", one + "/", other + "/")


class MountTools(MountCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="canopy-tools.")
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name
        self.top = self.mounted.path("SharedDomains", self.stack.facts["domain"], self._testMethodName)
        os.mkdir(self.top)

    def test_rsync_both_ways(self):
        source, back, there = os.path.join(self.scratch, "a"), os.path.join(self.scratch, "b"), os.path.join(self.top, "a")
        os.mkdir(source)
        make_tree(source)
        os.utime(os.path.join(source, "d2", "e2"), (1_600_000_000, 1_600_000_000))  # rsync compares whole seconds
        run("rsync", RSYNC, source + "/", there + "/")
        self.assertEqual(differences(source, there), "")
        run("rsync", RSYNC, there + "/", back + "/")
        self.assertEqual(differences(source, back), "")
        if not OVER_NFS:
            self.assertEqual(os.getxattr(os.path.join(back, "another name"), "user.note"), b"kept")
        # A change of one byte that neither size nor time tells, and a removal.
        changed = os.path.join(there, "d1", "e1", "file 1")
        before = os.stat(changed)
        with open(changed, "r+b") as file:
            byte = file.read(1)
            file.seek(0)
            file.write(bytes([byte[0] ^ 1]))
        os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.unlink(os.path.join(there, "d2", "e2", "file 2"))
        self.assertEqual([line.split(" ", 1)[1] for line in differences(source, there).splitlines()],
                         ["d1/e1/file 1", "d2/e2/", "d2/e2/file 2"])
        run("rsync", RSYNC + "c", source + "/", there + "/")
        self.assertEqual(differences(source, there), "")

    def test_tar_and_sparse_copies(self):
        source, there = os.path.join(self.scratch, "a"), os.path.join(self.top, "a")
        os.mkdir(source)
        make_tree(source)
        archive = os.path.join(self.top, "archive.tar")
        os.mkdir(there)
        run("tar", "--sparse", "--xattrs", "--acls", "-C", source, "-cf", archive, ".")
        run("tar", "--sparse", "--xattrs", "--acls", "--same-permissions", "-C", there, "-xf", archive)
        run("tar", "-C", there, "--compare", "-f", archive)
        for name in ("holes", "d0/e0/file 0"):
            self.assertTrue(filecmp.cmp(os.path.join(source, name), os.path.join(there, name), shallow=False))
        holes = os.path.join(self.top, "holes")
        run("cp", "--sparse=always", "--preserve=all", os.path.join(there, "holes"), holes)
        self.assertTrue(filecmp.cmp(os.path.join(source, "holes"), holes, shallow=False))
        self.assertLess(os.stat(holes).st_blocks * 512, 1 << 20)
        run("cp", "-a", there, os.path.join(self.scratch, "copied"))
        self.assertEqual(differences(there, os.path.join(self.scratch, "copied")), "")

    def test_fio_with_verification(self):
        for name, options in (("random", ["--rw=randwrite", "--bs=4k"]), ("mapped", ["--rw=randwrite", "--ioengine=mmap"]),
                              ("streams", ["--rw=write", "--bs=128k", "--numjobs=3"]),
                              ("direct", ["--rw=randrw", "--direct=1", "--bs=8k"])):
            run("fio", f"--name={name}", f"--directory={self.top}", "--size=6m", "--verify=crc32c", "--verify_fatal=1",
                "--fsync=64", "--randseed=5", *options, cwd=self.scratch)

    def test_sqlite_with_a_write_ahead_log(self):
        path = os.path.join(self.top, "data.db")

        def fill(worker):
            with sqlite3.connect(path, timeout=60) as database:
                for i in range(50):
                    database.execute("insert into rows values (?, ?)", (worker, i))
                    database.commit()
            database.close()

        with sqlite3.connect(path) as database:
            self.assertEqual(database.execute("pragma journal_mode=wal").fetchone(), ("wal",))
            database.execute("create table rows (worker integer, i integer)")
        workers = [threading.Thread(target=fill, args=(worker,)) for worker in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertEqual(database.execute("select count(*), sum(i) from rows").fetchone(), (150, 3 * 1225))
        self.assertEqual(database.execute("pragma integrity_check").fetchone(), ("ok",))
        database.close()
        lies = os.path.join(self.stack.facts["base"], os.path.relpath(path, self.mounted.directory))
        with sqlite3.connect(lies) as database:
            self.assertEqual(database.execute("select count(*) from rows").fetchone(), (150,))
        database.close()

    def test_git(self):
        origin, back = os.path.join(self.scratch, "origin"), os.path.join(self.scratch, "back")
        clone = os.path.join(self.top, "clone")
        os.mkdir(origin)
        run("git", "init", "-q", "-b", "main", cwd=origin)
        for i in range(3):
            for j in range(40):
                write(os.path.join(origin, f"file{j}"), f"{i} {j}\n".encode() * (50 + j))
            run("git", "add", ".", cwd=origin)
            run("git", "commit", "-q", "-m", f"number {i}", cwd=origin)
        run("git", "clone", "-q", "file://" + origin, clone)
        run("git", "fsck", "--full", "--strict", cwd=clone)
        self.assertEqual(run("git", "status", "--porcelain", cwd=clone), "")
        write(os.path.join(clone, "file1"), b"changed\n")
        run("git", "commit", "-q", "-a", "-m", "in the mount", cwd=clone)
        run("git", "checkout", "-q", "HEAD~2", cwd=clone)
        run("git", "checkout", "-q", "main", cwd=clone)
        run("git", "gc", "-q", "--aggressive", "--prune=now", cwd=clone)
        run("git", "fsck", "--full", "--strict", cwd=clone)
        run("git", "clone", "-q", clone, back)
        self.assertEqual(run("git", "log", "--format=%s", cwd=back).split("\n")[:2], ["in the mount", "number 2"])
        self.assertEqual(run("git", "rev-parse", "HEAD^{tree}", cwd=back), run("git", "rev-parse", "HEAD^{tree}", cwd=clone))

    def test_vim(self):
        path = os.path.join(self.top, "text")
        write(path, b"one\ntwo\nthree\n")
        os.chmod(path, 0o640)
        editor = shutil.which("vim") or "vim.tiny"
        run(editor, "-u", "NONE", "-es", "-c", "set backup writebackup swapfile backupskip= backupdir=.", "-c", "%s/two/2/", "-c", "wq", path)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"one\n2\nthree\n")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o640)
        self.assertEqual(sorted(os.listdir(self.top)), ["text", "text~"])

    def test_neomutt_on_an_exported_maildir(self):
        name = self.stack.account(0)[0]
        for i in range(3):
            message = os.path.join(self.scratch, f"{i}.eml")
            write(message, f"From: a@example.org\r\nSubject: number {i}\r\n\r\nText {i}\r\n".encode())
            self.stack.ctl("mailbox", "import", name, message)
        self.stack.ctl("mailbox", "export", name, os.path.join(self.top, "out"), "--all", "--format", "maildir")
        inbox = next(directory for directory, below, _ in os.walk(os.path.join(self.top, "out")) if "cur" in below)
        self.assertEqual(len(messages(inbox)), 3)
        saved = os.path.join(self.top, "saved")
        keys = f'<first-entry><save-message>{saved}<enter><next-entry><flag-message><sync-mailbox><exit>'
        screen, terminal = pty.openpty()
        drained = threading.Thread(target=drain, args=(screen,))
        drained.start()
        try:
            subprocess.run(["neomutt", "-n", "-F", "/dev/null", "-f", inbox, "-e", "set mbox_type=Maildir move=no delete=yes",
                            "-e", "set confirmappend=no confirmcreate=no quit=yes folder='' header_cache=''",
                            "-e", f'push "{keys}"'], stdin=terminal, stdout=terminal, stderr=terminal, timeout=SECONDS,
                           check=True, env=dict(os.environ, TERM="xterm", HOME=self.scratch))
        finally:
            os.close(terminal)
            drained.join()
            os.close(screen)
        left = messages(inbox)
        self.assertEqual(len(left), 2)
        self.assertEqual(len([each for each in left if "F" in each.rsplit(":2,", 1)[-1]]), 1)
        taken = messages(saved)
        self.assertEqual(len(taken), 1)
        with open(taken[0], "rb") as file:
            self.assertIn(b"Subject: number", file.read())


def messages(maildir):
    return [os.path.join(maildir, part, each) for part in ("cur", "new") for each in os.listdir(os.path.join(maildir, part))]


def drain(screen):
    """Reads what a program paints until it is gone."""
    try:
        while os.read(screen, 4096):
            pass
    except OSError:  # EIO: nobody has the other end open
        pass


if __name__ == "__main__":
    unittest.main()
