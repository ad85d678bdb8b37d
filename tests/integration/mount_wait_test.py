"""Operations in the mount that wait: for a backend that is gone, until the stated limit; and nobody waits behind them."""
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
import unittest

import mount_command_test
from files import read, write
from mounted import Mounted
from stack import Stack

WAITING = 200  # more than any pool of threads that could be behind it

# Takes the same range by as many threads, each through an opening of its own, and says when all have begun.
WAITERS = """
import sys, threading, fcntl
path, count = sys.argv[1], int(sys.argv[2])
def wait():
    with open(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
threads = [threading.Thread(target=wait) for _ in range(count)]
for thread in threads:
    thread.start()
print("begun", flush=True)
for thread in threads:
    thread.join()
print("done", flush=True)
"""


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class Waiting(unittest.TestCase):
    def names(self, stack, mounted):
        return mounted.path("SharedDomains", stack.facts["domain"]), mounted.path("accounts", stack.facts["domain"])

    @staticmethod
    def soon(operation):
        """What it answers once the backend is back: on a slow machine it may take longer than this mount waits."""
        for _ in range(60):
            try:
                return operation()
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
        return operation()

    @staticmethod
    def await_standstill(process):
        """Until all of its threads stand still."""
        while True:
            states = []
            for thread in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{thread}/stat", encoding="ascii") as file:
                    states.append(file.read().rsplit(")", 1)[1].split()[0])
            if set(states) == {"T"}:
                return
            time.sleep(0.01)

    @staticmethod
    def error_of(operation):
        try:
            operation()
        except OSError as error:
            return error.errno
        return 0

    def test_beyond_the_limit_it_is_eio_and_the_log_names_what_it_was_about(self):
        with Stack() as stack, Mounted(stack, "-o", "wait=1") as mounted:
            top, accounts = self.names(stack, mounted)
            name = stack.facts["accounts"][0]["name"].split("@")[0]
            write(os.path.join(top, "file"), b"before")
            space = os.statvfs(mounted.path())
            daemon = mount_command_test.Ending.child_of(stack.process.pid, "canopyd")
            os.kill(stack.process.pid, signal.SIGSTOP)  # or else it starts canopyd again
            os.kill(daemon, signal.SIGKILL)
            refused = [self.error_of(lambda: os.mkdir(os.path.join(top, "new"))),
                       self.error_of(lambda: os.listdir(os.path.join(accounts, name)))]
            self.assertEqual(os.statvfs(mounted.path()).f_blocks, space.f_blocks)  # umount asks, and must not wait
            failed = [line.split(" error=")[0].split("object=")[1] for line in mounted.logged().splitlines()
                      if "operation-failed" in line]
            stack.stop(signal.SIGKILL)
            stack.start()
            self.assertEqual(refused, [errno.EIO] * 2)
            self.assertIn(f"SharedDomains/{stack.facts['domain']}/new", failed)
            # The names above it have to be looked at first.
            self.assertTrue(f"accounts/{stack.facts['domain']}/{name}".startswith(failed[-1]), failed)
            self.assertEqual(self.soon(lambda: read(os.path.join(top, "file"))), b"before")
            os.mkdir(os.path.join(top, "new"))
            self.assertIn("INBOX", self.soon(lambda: os.listdir(os.path.join(accounts, name))))

    def test_beyond_the_limit_open_files_answer_eio_and_go_on_afterwards(self):
        with Stack() as stack, Mounted(stack, "-o", "wait=1") as mounted:
            top, _ = self.names(stack, mounted)
            path = os.path.join(top, "file")
            write(path, bytes(1 << 20))
            with open(path, "r+b", buffering=0) as file:  # which has the kernel forget what it knows of the bytes
                daemon = mount_command_test.Ending.child_of(stack.process.pid, "canopyd")
                os.kill(stack.process.pid, signal.SIGSTOP)  # or else it starts canopyd again
                os.kill(daemon, signal.SIGKILL)
                refused, objects = [], []
                for operation in (lambda: os.pread(file.fileno(), 10, 1 << 19), lambda: os.pwrite(file.fileno(), b"x", 0),
                                  lambda: os.fsync(file.fileno()), lambda: open(path, "rb").close()):
                    before = len(mounted.logged())
                    refused.append(self.error_of(operation))
                    failed = [line for line in mounted.logged()[before:].splitlines() if "operation-failed" in line]
                    objects.append({line.split(" error=")[0].split("object=")[1] for line in failed})
                stack.stop(signal.SIGKILL)
                stack.start()
                self.assertEqual(refused, [errno.EIO] * 4)
                name = f"SharedDomains/{stack.facts['domain']}/file"
                self.assertEqual(objects[:3], [{name}] * 3)
                # Opening begins by looking names up.
                self.assertTrue(objects[3] and all(name.startswith(each) for each in objects[3]), objects)
                self.assertEqual(self.soon(lambda: os.pwrite(file.fileno(), b"after", 0)), 5)
                os.fsync(file.fileno())
                self.assertEqual(os.pread(file.fileno(), 5, 0), b"after")

    def test_a_backend_that_stands_still_is_eio_too_and_unmounting_works_meanwhile(self):
        with Stack() as stack, Mounted(stack, "-o", "wait=1") as mounted:
            other = Mounted(stack, "-o", "wait=3600")
            top, accounts = self.names(stack, mounted)
            name = stack.facts["accounts"][0]["name"].split("@")[0]
            path, at_store = os.path.join(top, "file"), f"SharedDomains/{stack.facts['domain']}/file"
            write(path, bytes(1 << 20))
            write(other.path("SharedDomains", stack.facts["domain"], "other"), b"closed")
            space, process = os.statvfs(mounted.path()), other.process()
            daemon = mount_command_test.Ending.child_of(stack.process.pid, "canopyd")
            with open(path, "r+b", buffering=0) as file:
                os.kill(daemon, signal.SIGSTOP)
                try:
                    self.await_standstill(daemon)
                    objects = []
                    for operation in (lambda: os.pread(file.fileno(), 10, 1 << 19), lambda: os.pwrite(file.fileno(), b"x", 0),
                                      lambda: os.fsync(file.fileno()), lambda: os.mkdir(os.path.join(top, "late")),
                                      lambda: os.listdir(os.path.join(accounts, name))):
                        before = len(mounted.logged())
                        self.assertEqual(self.error_of(operation), errno.EIO, len(objects))
                        objects.append({line.split(" error=")[0].split("object=")[1]
                                        for line in mounted.logged()[before:].splitlines() if "operation-failed" in line})
                    self.assertEqual(objects[:3], [{at_store}] * 3)
                    # The names above these have to be looked at first.
                    for seen, name_of_it in zip(objects[3:], (os.path.join(os.path.dirname(at_store), "late"),
                                                              f"accounts/{stack.facts['domain']}/{name}")):
                        self.assertTrue(seen and all(name_of_it.startswith(each) for each in seen), objects)
                    self.assertEqual(os.statvfs(mounted.path()).f_blocks, space.f_blocks)
                    subprocess.run(["fusermount3", "-u", other.directory], check=True, timeout=60)
                    for _ in range(600):
                        if not os.path.exists(f"/proc/{process}"):
                            break
                        time.sleep(0.1)
                    self.assertFalse(os.path.exists(f"/proc/{process}"), "canopy-mount stays")
                    other.clean()
                finally:
                    os.kill(daemon, signal.SIGCONT)
                # What was refused may have come to it all the same, and be done now.
                self.assertEqual(self.soon(lambda: os.pwrite(file.fileno(), b"after", 1 << 19)), 5)
                self.soon(lambda: os.fsync(file.fileno()))
                self.assertEqual(self.soon(lambda: os.pread(file.fileno(), 5, 1 << 19)), b"after")
            self.assertEqual(self.soon(lambda: read(os.path.join(stack.facts["base"], at_store)))[1 << 19:][:5], b"after")
            self.soon(lambda: os.makedirs(os.path.join(top, "new"), exist_ok=True))
            self.assertIn("new", self.soon(lambda: os.listdir(top)))
            self.assertIn("INBOX", self.soon(lambda: os.listdir(os.path.join(accounts, name))))
            self.assertEqual(mount_command_test.Ending.child_of(stack.process.pid, "canopyd"), daemon)

    def test_nobody_waits_behind_those_who_wait(self):
        with Stack() as stack, Mounted(stack) as mounted, Mounted(stack) as holder:
            top, accounts = self.names(stack, mounted)
            locked = os.path.join(top, "locked")
            write(locked, b"")
            with open(os.path.join(self.names(stack, holder)[0], "locked"), "r+b") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                with subprocess.Popen([sys.executable, "-c", WAITERS, locked, str(WAITING)], stdout=subprocess.PIPE,
                                      text=True) as waiters:
                    self.assertEqual(waiters.stdout.readline(), "begun\n")
                    for number in range(50):
                        path = os.path.join(top, f"file-{number}")
                        write(path, b"content")
                        self.assertEqual(read(path), b"content")
                        os.rename(path, path + "-new")
                        self.assertIn("INBOX", os.listdir(os.path.join(accounts, os.listdir(accounts)[0])))
                    self.assertIsNone(waiters.poll())  # all that while
                    held.close()
                    self.assertEqual(waiters.stdout.readline(), "done\n")


if __name__ == "__main__":
    unittest.main()
