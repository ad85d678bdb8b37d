"""A store on an NFS server whose files belong to a user of their own (`uid` and `gid` of its address)."""
import json
import os
import poplib
import shutil
import sys
import tempfile
import unittest

from stack import SOURCE, Stack
from thin_line_test import deliver

sys.path.append(os.path.join(SOURCE, "tools"))
from ganesha import Ganesha, why_unavailable  # pylint: disable=wrong-import-position

PASSWORD = "secret of abby"
OWNER, GROUP, STRANGER = 4321, 4322, 5432


@unittest.skipIf(why_unavailable(), f"NOT TESTED: {why_unavailable()}")
class FilesOfAnotherUser(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="canopy-nfs.")
        self.addCleanup(lambda: shutil.rmtree(self.directory, ignore_errors=True))
        self.server = Ganesha(self.directory)
        os.chmod(self.directory, 0o755)
        os.chown(self.server.export, OWNER, GROUP)
        os.chmod(self.server.export, 0o700)
        self.addCleanup(self.server.kill)
        self.server.start()
        self.stack = Stack()
        self.addCleanup(self.stack.__exit__)
        self.stack.start()

    def add(self, version, uid, gid, check=True):
        address = self.server.address(version, uid=uid, gid=gid)
        return self.stack.ctl("--json", "store", "add", "nas1", address, "--new", check=check)

    def lies_with_its_owner(self, version):
        self.assertEqual(json.loads(self.add(version, OWNER, GROUP).stdout)["state"], "up")
        self.stack.ctl("domain", "create", "many.example")
        self.stack.ctl("mounts", "set", "-", stdin="/ root\nSharedDomains/many.example nas1\n")
        self.stack.ctl("account", "create", "abby@many.example", "--password-file", "-", stdin=PASSWORD + "\n")
        self.assertEqual(deliver(self.stack, ["abby@many.example"]), {})
        pop3 = poplib.POP3(*self.stack.address("pop3"), timeout=30)
        pop3.stls(self.stack.tls())
        pop3.user("abby@many.example")
        pop3.pass_(PASSWORD)
        self.assertEqual(pop3.stat()[0], 1)
        pop3.quit()
        owners, files = set(), 0
        for folder, _, names in os.walk(self.server.export):
            for path in [folder] + [os.path.join(folder, name) for name in names]:
                found = os.lstat(path)
                owners.add((found.st_uid, found.st_gid))
            files += len(names)
        self.assertEqual(owners, {(OWNER, GROUP)})
        self.assertGreater(files, 2)
        self.stack.ctl("account", "delete", "abby@many.example")
        self.stack.ctl("check")

    def test_over_version_3(self):
        self.lies_with_its_owner(3)

    def test_over_version_4(self):
        self.lies_with_its_owner(4)

    def test_a_user_who_may_not_write_there_is_told(self):
        for version in (3, 4):
            refused = self.add(version, STRANGER, STRANGER, check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertRegex(refused.stdout + refused.stderr, "(?i)permission|not permitted|read-only|may not")
        self.assertEqual(os.listdir(self.server.export), [])


if __name__ == "__main__":
    unittest.main()
