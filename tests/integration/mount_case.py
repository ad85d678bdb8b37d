"""A test case with a system of its own, mounted once for all its tests."""
import os
import time
import unittest

from mounted import Mounted
from stack import Stack

MESSAGE = b"From: sender@example.org\r\nSubject: A message\r\n\r\nHello from the mount.\r\n"


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class SystemCase(unittest.TestCase):
    """A system of its own, to be mounted."""
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.stack.start()
        cls.addClassCleanup(cls.stack.__exit__)


class MountCase(SystemCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
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


class TwoMountsCase(SystemCase):
    """A system of its own, mounted twice, with a directory for each test."""
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one = Mounted(cls.stack, "-o", "told_ms=600000")  # what shows, shows because it was told
        cls.addClassCleanup(cls.one.__exit__)
        cls.two = Mounted(cls.stack, "-o", "told_ms=600000")
        cls.addClassCleanup(cls.two.__exit__)

    def setUp(self):
        self.top = os.path.join("SharedDomains", self.stack.facts["domain"], self.id().rsplit(".", 1)[-1])
        os.mkdir(self.one.path(self.top))
        end = time.monotonic() + 60  # a generous bound
        while not os.path.isdir(self.two.path(self.top)):
            self.assertLess(time.monotonic(), end, "the other mount does not see the directory")
            time.sleep(0.001)

    def paths(self, name):
        return self.one.path(self.top, name), self.two.path(self.top, name)
