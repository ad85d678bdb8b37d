"""A test case with a system of its own, mounted once for all its tests."""
import os
import unittest

from mounted import Mounted
from stack import Stack

MESSAGE = b"From: sender@example.org\r\nSubject: A message\r\n\r\nHello from the mount.\r\n"


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class MountCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.stack.start()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.name = cls.stack.account(0)[0]
        cls.local, cls.domain = cls.name.split("@")
        cls.prepare()
        cls.mounted = Mounted(cls.stack)
        cls.addClassCleanup(cls.mounted.__exit__)

    @classmethod
    def prepare(cls):
        """What shall be there before it is mounted."""

    def account(self, *parts):
        return self.mounted.path("accounts", self.domain, self.local, *parts)

    def refused(self, error_number, attempt):
        with self.assertRaises(OSError) as refused:
            attempt()
        self.assertEqual(refused.exception.errno, error_number)
