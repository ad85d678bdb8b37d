"""Names that are not there: the mount answers for directories whose names it knows, and is not wrong for long about what others make."""
import os
import signal
import threading
import time
import unittest

import mount_command_test
from files import write
from mount_case import TwoMountsCase
from mounted import Mounted

SECONDS = 60  # a generous bound
MISSES = 40   # more than the mount lets go by before it reads a directory of some hundred names


class AbsentNames(TwoMountsCase):
    def until(self, look):
        end = time.monotonic() + SECONDS
        while not look():
            self.assertLess(time.monotonic(), end, "it does not come")
            time.sleep(0.001)

    def known_without_asking(self, directory, names):
        """Whether each is there, as the mount says while the daemon stands still."""
        daemon = mount_command_test.Ending.child_of(self.stack.process.pid, "canopyd")
        at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        found = []

        def look():
            for name in names:
                try:
                    os.stat(name, dir_fd=at)
                    found.append(True)
                except FileNotFoundError:
                    found.append(False)

        thread = threading.Thread(target=look)
        os.kill(daemon, signal.SIGSTOP)
        try:
            thread.start()
            thread.join(SECONDS)
            answered = not thread.is_alive()
        finally:
            os.kill(daemon, signal.SIGCONT)
        thread.join()
        os.close(at)
        self.assertTrue(answered, "it was asked")
        return found

    def test_a_new_directory_is_known_to_have_only_what_was_made_in_it(self):
        here = self.one.path(self.top, "new")
        os.mkdir(here)
        self.assertEqual(self.known_without_asking(here, ["a", "b"]), [False, False])

    def test_a_directory_in_which_much_is_looked_for_is_read(self):
        here = self.one.path(self.top)
        for number in range(300):
            write(self.two.path(self.top, f"there-{number}"), b"")
        for number in range(MISSES):
            self.assertFalse(os.path.exists(os.path.join(here, f"not-{number}")))
        time.sleep(0.5)  # it is read meanwhile
        self.assertEqual(self.known_without_asking(here, ["not-0", "another"]), [False, False])
        for number in range(300):
            self.assertTrue(os.path.exists(os.path.join(here, f"there-{number}")))

    def test_what_the_other_mount_makes_shows(self):
        os.mkdir(self.two.path(self.top, "moved-from"))
        makers = {
            "file": lambda path: write(path, b"1"),
            "directory": os.mkdir,
            "symlink": lambda path: os.symlink("target", path),
            "link": lambda path: os.link(self.two.path(self.top, "file0"), path),
            "renamed": lambda path: os.rename(path.replace("renamed", "file"), path),
            "moved": lambda path: os.rename(self.two.path(self.top, "moved-from"), path),
        }
        for round_number in range(3):
            for kind, make in makers.items():
                here, there = self.paths(f"{kind}{round_number}")
                for number in range(MISSES):
                    self.assertFalse(os.path.lexists(f"{here}-{number}"))
                self.assertFalse(os.path.lexists(here))
                make(there)
                self.until(lambda at=here: os.path.lexists(at))
                if kind == "renamed":
                    write(there.replace("renamed", "file"), b"again")  # what was there before moved away
                if kind == "moved":
                    os.rename(there, self.two.path(self.top, "moved-from"))

    def test_what_is_made_below_a_directory_that_the_other_mount_renames_shows(self):
        here, there = self.paths("directory")
        os.mkdir(here)
        self.assertFalse(os.path.exists(os.path.join(here, "x")))
        self.until(lambda: os.path.isdir(there))
        for number in range(5):
            os.rename(there, there + "-new")
            write(os.path.join(there + "-new", f"file-{number}"), b"1")
            self.until(lambda of=number: os.path.exists(os.path.join(here + "-new", f"file-{of}")))
            os.rename(there + "-new", there)
            self.until(lambda: os.path.exists(here))
            self.assertFalse(os.path.exists(os.path.join(here, "x")))

    def test_what_one_makes_itself_is_there_at_once(self):
        with Mounted(self.stack, "-o", "told_ms=20") as mounted:  # what is known ends all the time
            top = mounted.path(self.top)
            failed = []

            def work(worker):
                for number in range(400):
                    path = os.path.join(top, f"{worker}-{number}")
                    if os.path.exists(path):
                        failed.append(path + " is there")
                    write(path, b"1")
                    if not os.path.exists(path):
                        failed.append(path + " is not there")
                    os.rename(path, path + "-new")
                    if not os.path.exists(path + "-new") or os.path.exists(path):
                        failed.append(path + " was not renamed")
                    if number % 2:
                        os.unlink(path + "-new")

            threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(failed, [])
            self.assertEqual(len(os.listdir(top)), 800)

    def test_after_a_restart_of_the_daemon_everything_is_asked_for_again(self):
        here = self.one.path(self.top, "new")
        os.mkdir(here)
        self.assertFalse(os.path.exists(os.path.join(here, "file")))
        self.stack.stop(9)
        write(os.path.join(self.stack.facts["base"], self.top, "new", "file"), b"by hand")
        self.stack.start()
        self.until(lambda: os.path.exists(os.path.join(here, "file")))


if __name__ == "__main__":
    unittest.main()
