"""Programs at work in the mount while the daemon is killed and started again: none of them notices, and nothing is lost, neither
in the mount, whose kernel may have it all in its cache, nor in what lies on the store."""
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from files import write
from mount_tools_test import SECONDS, differences, make_tree, run
from mounted import Mounted
from stack import OVER_NFS, Stack


def entries(top):
    """How much is there yet; a directory may go away while it is looked at."""
    return sum(len(files) for _, _, files in os.walk(top))


def bytes_of(path):
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class MountKill(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="canopy-tools.")
        self.addCleanup(scratch.cleanup)
        self.local = scratch.name
        self.stack = Stack()
        self.stack.start()
        self.addCleanup(self.stack.__exit__)
        self.mounted = Mounted(self.stack)
        self.addCleanup(self.mounted.__exit__)
        self.top = self.mounted.path("SharedDomains", self.stack.facts["domain"])
        self.lies = os.path.join(self.stack.facts["base"], "SharedDomains", self.stack.facts["domain"])

    def killed_while_running(self, command, progress, marks):
        """Runs the command, and kills the daemon whenever its progress has come to the next mark. Where this test gets so
        little of a busy machine that the command has ended meanwhile, the later marks are passed over."""
        kills = 0
        if OVER_NFS:  # each restart waits for two leases
            marks = marks[:1]
        output = tempfile.TemporaryFile()  # pylint: disable=consider-using-with
        self.addCleanup(output.close)
        with subprocess.Popen(command, stdout=output, stderr=output, cwd=self.local) as process:
            try:
                for mark in marks:
                    while progress() < mark and process.poll() is None:
                        time.sleep(0.002)
                    if process.poll() is not None:
                        break
                    self.stack.stop(9)
                    self.stack.start()
                    kills += 1
                status = process.wait(SECONDS)
            finally:
                process.kill()
        output.seek(0)
        self.assertEqual(status, 0, output.read().decode(errors="replace"))
        self.assertGreater(kills, 0, f"{command} ended before it was at {marks[0]}")
        self.assertNotIn("operation-failed", self.mounted.logged())

    @unittest.skipIf(OVER_NFS, "NFSv3 and NFSv4.0 have no access lists, which are in the tree that is copied")
    def test_cp(self):
        source, there = os.path.join(self.local, "a"), os.path.join(self.top, "a")
        os.mkdir(source)
        make_tree(source, files=1500)
        self.killed_while_running(["cp", "-a", source, there], lambda: entries(os.path.join(self.lies, "a")), (100, 500, 900))
        self.assertEqual(differences(source, there), "")
        self.assertEqual(differences(source, os.path.join(self.lies, "a")), "")

    def test_fio(self):
        options = ["--name=fio", "--size=24m", "--rw=randwrite", "--bs=4k", "--verify=crc32c", "--verify_fatal=1", "--fsync=16",
                   "--randseed=5"]
        mebi = 1 << 20
        self.killed_while_running(["fio", *options, "--filename=" + os.path.join(self.top, "fio")],
                                  lambda: bytes_of(os.path.join(self.lies, "fio")),
                                  (3 * mebi, 9 * mebi, 15 * mebi))
        for top in (self.top, self.lies):
            run("fio", *options, "--filename=" + os.path.join(top, "fio"), "--verify_only=1", cwd=self.local)

    def test_git(self):
        origin, clone = os.path.join(self.local, "origin"), os.path.join(self.top, "clone")
        os.mkdir(origin)
        run("git", "init", "-q", "-b", "main", cwd=origin)
        make_tree(origin, files=1200)
        run("git", "add", ".", cwd=origin)
        run("git", "commit", "-q", "-m", "all", cwd=origin)
        self.killed_while_running(["git", "clone", "-q", "file://" + origin, clone],
                                  lambda: entries(os.path.join(self.lies, "clone")), (40, 400, 800))
        self.killed_while_running(["git", "-C", clone, "-c", "safe.directory=*", "fsck", "--full", "--strict"], lambda: 1, (1,))
        self.assertEqual(run("git", "status", "--porcelain", cwd=clone), "")
        lies = os.path.join(self.lies, "clone")
        run("git", "fsck", "--full", "--strict", cwd=lies)
        self.assertEqual(differences(clone, lies), "")
        checked_out = os.path.join(self.local, "checked out")
        shutil.copytree(lies, checked_out, symlinks=True)
        self.assertEqual(run("git", "status", "--porcelain", cwd=checked_out), "")
        write(os.path.join(clone, "new"), b"new\n")
        self.assertEqual(run("git", "status", "--porcelain", cwd=clone), "?? new\n")


if __name__ == "__main__":
    unittest.main()
