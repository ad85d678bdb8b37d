"""A store on a real NFS server among others, through libnfs: mail lies there, the server dies and comes back."""
import contextlib
import json
import os
import shutil
import signal
import smtplib
import sys
import tempfile
import threading
import time
import unittest

from stack import SOURCE, Stack
from thin_line_test import deliver

sys.path.append(os.path.join(SOURCE, "tools"))
from ganesha import Ganesha, why_unavailable  # pylint: disable=wrong-import-position

PASSWORD = "secret of abby"


def pids_of(stack, name):
    """Of the stack's children with that name that run."""
    with open(f"/proc/{stack.process.pid}/task/{stack.process.pid}/children", encoding="ascii") as file:
        pids = [int(pid) for pid in file.read().split()]
    found = []
    for pid in pids:
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            of, _, rest = stat.read().rpartition(")")
            if of.partition("(")[2] == name and not rest.startswith(" Z"):
                found.append(pid)
    return found


@unittest.skipIf(why_unavailable(), f"NOT TESTED: {why_unavailable()}")
class OverNfs(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="canopy-nfs.")
        self.addCleanup(lambda: shutil.rmtree(self.directory, ignore_errors=True))
        self.server = Ganesha(self.directory)
        self.addCleanup(self.server.kill)
        self.server.start()
        self.stack = Stack()
        self.addCleanup(self.stack.__exit__)
        self.stack.start()
        self.stack.ctl("domain", "create", "many.example", "--account-foldering", "1")
        added = json.loads(self.stack.ctl("--json", "store", "add", "nas1", self.server.address(), "--new").stdout)
        self.assertEqual((added["state"], added["kind"]), ("up", "nfs"))
        self.stack.ctl("mounts", "set", "-", stdin="/ root\nSharedDomains/many.example/[a-d].sub nas1\n")
        for name in ("abby", "emil"):
            self.stack.ctl("account", "create", name + "@many.example", "--password-file", "-", stdin=PASSWORD + "\n")

    def on_server(self):
        found = []
        for folder, _, files in os.walk(os.path.join(self.server.export, "SharedDomains")):
            for file in files:
                with open(os.path.join(folder, file), "rb") as opened:
                    found += [os.path.join(folder, file)] * (b"Hello from LMTP" in opened.read())
        return found

    def deliver_until(self, name, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return deliver(self.stack, [name])
            except smtplib.SMTPException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def test_mail_lies_on_the_server_and_comes_back_with_it(self):
        for name in ("abby", "emil"):
            deliver(self.stack, [name + "@many.example"])
        located = json.loads(self.stack.ctl("--json", "locate", "abby@many.example").stdout)
        self.assertEqual(located["store"], "nas1")
        found = self.on_server()
        self.assertEqual(len(found), 1)
        self.assertIn("many.example/a.sub/abby.macnt/", found[0])
        self.server.kill()
        with self.assertRaises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as refused:
            deliver(self.stack, ["abby@many.example"])
        self.assertIn("451", str(refused.exception))  # at RCPT or after DATA: its settings may be remembered
        self.assertEqual(deliver(self.stack, ["emil@many.example"]), {})
        self.stack.stop()
        self.stack.start()  # also without the server
        self.assertEqual(deliver(self.stack, ["emil@many.example"]), {})
        states = {store["name"]: store["state"] for store in json.loads(self.stack.ctl("--json", "status").stdout)["stores"]}
        self.assertEqual(states, {"root": "up", "nas1": "down"})
        self.server.start()
        self.deliver_until("abby@many.example")
        shown = json.loads(self.stack.ctl("--json", "account", "show", "abby@many.example").stdout)
        self.assertGreaterEqual(shown.get("messages", 2), 2)
        self.assertTrue(self.on_server())

    def test_a_frozen_server_does_not_keep_the_daemon_from_ending(self):
        names = [f"anna{number}@many.example" for number in range(4 + os.cpu_count())]
        for name in names:
            self.stack.ctl("account", "create", name, "--no-password")
            deliver(self.stack, [name])
        self.server.stop()
        self.addCleanup(self.server.go_on)
        answers = []

        def wait(name):
            try:
                answers.append(deliver(self.stack, [name]))
            except smtplib.SMTPException as error:
                answers.append(str(error))
        waiting = [threading.Thread(target=wait, args=(name,)) for name in names]
        for thread in waiting:
            thread.start()
        deadline = time.monotonic() + 60
        # More than the probes, of which each loop has one.
        while json.loads(self.stack.ctl("--json", "store", "show", "nas1").stdout)["in_flight"] <= os.cpu_count():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        first, = pids_of(self.stack, "canopyd")
        os.kill(first, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while pids_of(self.stack, "canopyd") in ([first], []):  # another one is started
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        with open(os.path.join(self.stack.directory, "logs/canopyd.log"), encoding="utf-8") as log:
            self.assertIn("stopping-cut-short object=" + self.stack.facts["base"], log.read())
        self.deliver_until("emil@many.example")
        for thread in waiting:
            thread.join()
        self.assertEqual([answer for answer in answers if "451" not in str(answer)], [])
        self.server.go_on()
        self.deliver_until(names[0])

    def test_the_requirements_are_checked_on_it(self):
        done = self.stack.ctl("--json", "store", "check", "nas1", check=False)
        verdicts = json.loads(done.stdout)["verdicts"]
        self.assertEqual([verdict for verdict in verdicts
                          if not verdict["good"] and verdict["requirement"] != "millions of small files"], [])


if __name__ == "__main__":
    unittest.main()
