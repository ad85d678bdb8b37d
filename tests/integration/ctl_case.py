"""A test case with one running system for the whole class, and canopyctl to administer it."""
import json
import os
import subprocess
import unittest

from stack import BIN, Stack

CTL = os.path.join(BIN, "canopyctl")
FAILED, USAGE, NOT_FOUND, TEMPORARY = 1, 2, 3, 4  # exit statuses


def run_ctl(*arguments, stdin=None, env=None, cwd=None, seconds=120):
    """canopyctl as it is, without a server named; the finished process, with text output."""
    return subprocess.run([CTL, *arguments], input=stdin, capture_output=True, text=True, timeout=seconds, check=False,
                          env=env, cwd=cwd)


class CtlCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.stack.start()
        cls.addClassCleanup(cls.stack.__exit__)

    def ctl(self, *arguments, stdin=None):
        """What the command prints with --json; fails the test when it fails."""
        done = self.stack.ctl("--json", *arguments, check=False, stdin=stdin)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}")
        return json.loads(done.stdout)

    def text(self, *arguments, stdin=None):
        done = self.stack.ctl(*arguments, check=False, stdin=stdin)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}")
        return done.stdout

    def refused(self, status, *arguments, stdin=None):
        """The error of a command that must fail with this exit status: one line, nothing printed besides."""
        done = self.stack.ctl(*arguments, check=False, stdin=stdin)
        self.assertEqual((done.returncode, done.stdout), (status, ""), f"{arguments}: {done.stdout}{done.stderr}")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("canopyctl: "), done.stderr)
        as_json = self.stack.ctl("--json", *arguments, check=False, stdin=stdin)
        self.assertEqual((as_json.returncode, as_json.stdout), (status, ""))
        error = json.loads(as_json.stderr)["error"]
        self.assertIn(error["object"], done.stderr)
        self.assertIn(error["message"], done.stderr)
        return error

    def base(self, *parts):
        return os.path.join(self.stack.facts["base"], *parts)
