"""Direct writes of several programs to one file: they go to the backend side by side, and each is where it belongs."""
import mmap
import os
import signal
import threading
import unittest

import fuse_requests
import mount_command_test
from mount_case import MountCase

BLOCK = 64 << 10
WRITERS = 8
EACH = 20  # blocks of a writer


class DirectWrites(MountCase):
    def setUp(self):
        self.path = self.mounted.path("SharedDomains", self.domain, self._testMethodName)
        with open(self.path, "wb") as file:
            file.write(bytes(WRITERS * EACH * BLOCK))

    def write(self, writer, numbers):
        """Every WRITERS-th block from that one on."""
        block = mmap.mmap(-1, BLOCK)  # as O_DIRECT wants it to lie
        file = os.open(self.path, os.O_WRONLY | os.O_DIRECT)
        try:
            for number in numbers:
                block[:] = self.block(writer, number)
                if os.pwrite(file, block, (number * WRITERS + writer) * BLOCK) != BLOCK:
                    self.failed.append((writer, number))
        except OSError as error:
            self.failed.append(error)
        finally:
            os.close(file)

    @staticmethod
    def block(writer, number):
        return f"{writer:07}{number:07}".encode().ljust(16) * (BLOCK // 16)

    def writing(self, count):
        self.failed = []
        writers = [threading.Thread(target=self.write, args=(writer, range(count))) for writer in range(WRITERS)]
        for writer in writers:
            writer.start()
        return writers

    def check(self, writers, count):
        for writer in writers:
            writer.join()
        self.assertEqual(self.failed, [])
        with open(self.path, "rb") as file:
            for number in range(count):
                for writer in range(WRITERS):
                    self.assertEqual(file.read(BLOCK), self.block(writer, number), f"block {number} of writer {writer}")

    def test_each_is_where_it_belongs(self):
        self.check(self.writing(EACH), EACH)

    @unittest.skipIf(fuse_requests.why_not(), f"NOT TESTED: {fuse_requests.why_not()}")
    def test_none_waits_for_another(self):
        self.go_side_by_side([os.open(self.path, os.O_WRONLY | os.O_DIRECT) for _ in range(WRITERS)])

    @unittest.skipIf(fuse_requests.why_not(), f"NOT TESTED: {fuse_requests.why_not()}")
    def test_none_waits_for_another_either_in_a_file_that_is_just_made(self):
        self.path += "-made"
        file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_DIRECT)
        self.addCleanup(os.close, file)
        os.ftruncate(file, WRITERS * BLOCK)
        self.go_side_by_side([os.dup(file) for _ in range(WRITERS)])

    def go_side_by_side(self, files):
        daemon = mount_command_test.Ending.child_of(self.stack.process.pid, "canopyd")
        with fuse_requests.FuseRequests(self.mounted) as requests:
            self.addCleanup(lambda: [os.close(file) for file in files])
            block = mmap.mmap(-1, BLOCK)
            block[:] = self.block(0, 0)
            os.kill(daemon, signal.SIGSTOP)
            try:
                writers = [threading.Thread(target=os.pwrite, args=(file, block, at * BLOCK)) for at, file in enumerate(files)]
                for writer in writers:
                    writer.start()
                together = requests.until(WRITERS, seconds=20)
            finally:
                os.kill(daemon, signal.SIGCONT)
            for writer in writers:
                writer.join()
            self.assertTrue(together, "they came one after the other")
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(WRITERS * BLOCK), self.block(0, 0) * WRITERS)


if __name__ == "__main__":
    unittest.main()
