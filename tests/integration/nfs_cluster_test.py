"""`tools/dev cluster`: one tree on several NFS servers and a fast store, through a server's death and through its own."""
import glob
import json
import os
import re
import shlex
import signal
import smtplib
import subprocess
import sys
import tempfile
import time
import unittest

from files import read
from mounted import Mounted
from stack import BIN, SOURCE, Stack, ports
from thin_line_test import deliver

sys.path.append(os.path.join(SOURCE, "tools"))
from ganesha import why_unavailable  # pylint: disable=wrong-import-position

SUBJECT = "Subject: to {}\r\n\r\ntext\r\n"


@unittest.skipIf(why_unavailable(), f"NOT TESTED: {why_unavailable()}")
class Cluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(script="tools/cluster.py", options=["--nfs", "2", "--fast"])
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.start()
        cls.accounts = [account["name"] for account in cls.stack.facts["accounts"]]

    def ctl(self, *arguments):
        return json.loads(self.stack.ctl("--json", *arguments).stdout)

    def deliver_until(self, account, seconds=60):
        """It is refused for a while, with a reply that says so."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return deliver(self.stack, [account], SUBJECT.format(account))
            except smtplib.SMTPRecipientsRefused as refused:
                self.assertEqual(refused.recipients[account][0] // 100, 4)
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)

    def test_each_account_lies_where_it_is_said_to(self):
        stores = self.stack.facts["stores"]
        for account in self.accounts:
            self.deliver_until(account)
            located = self.ctl("locate", account)
            name = account.split("@")[0]
            self.assertEqual(located["store"], "nfs1" if name[0] <= "m" else "nfs2")
            place = os.path.join(stores[located["store"]]["export"], located["account_directory"])
            self.assertIn(f"Subject: to {account}".encode(), read(glob.glob(place + "/*.slice")[0]))
            settings = os.path.join(self.stack.facts["fast"], located["settings_file"])
            self.assertIn(b"Password", read(settings))
        with Mounted(self.stack) as mounted:  # all of it as one tree
            domain = mounted.path("SharedDomains", self.stack.facts["domain"])
            self.assertEqual(sorted(os.listdir(domain)),
                             sorted({account[0] + ".sub" for account in self.accounts} | {"domain.settings"}))
            self.assertIn("fast", os.listdir(mounted.path("SharedDomains")))
            name = self.accounts[0].split("@")[0]
            message = mounted.path("accounts", self.stack.facts["domain"], name, "INBOX", "1.eml")
            self.assertIn(f"Subject: to {self.accounts[0]}".encode(), read(message))

    def test_a_server_that_dies_takes_its_accounts_with_it_until_it_is_back(self):
        first, last = self.accounts[0], self.accounts[-1]
        for account in (first, last):
            self.deliver_until(account)
        before = self.ctl("account", "show", first)["messages"]
        os.kill(self.stack.facts["stores"]["nfs1"]["process"], signal.SIGKILL)  # it is started again
        self.assertEqual(deliver(self.stack, [last], SUBJECT.format(last)), {})
        self.deliver_until(first)
        self.assertGreater(self.ctl("account", "show", first)["messages"], before)

    def test_killed_and_started_again_it_goes_on_where_it_was(self):
        for account in self.accounts[:2]:
            self.deliver_until(account)
        before = self.ctl("account", "show", self.accounts[0])["messages"]
        self.stack.stop(signal.SIGKILL)
        self.stack.start()
        self.assertEqual(self.ctl("account", "show", self.accounts[0])["messages"], before)
        self.deliver_until(self.accounts[0])

    def test_what_it_prints_leads_to_the_servers_the_mount_and_the_commands(self):
        with tempfile.TemporaryDirectory(prefix="canopy-it.") as directory:
            mount = os.path.join(directory, "mount")
            process = subprocess.Popen(
                [sys.executable, os.path.join(SOURCE, "tools/cluster.py"), "--nfs", "1", "--fast", "--mount", mount, "--bin", BIN,
                 "--dir", os.path.join(directory, "cluster"), "--port-base", str(ports.reserve(4))],
                stdout=subprocess.PIPE, text=True, start_new_session=True)
            text = ""
            try:
                while "it is started again" not in text:
                    line = process.stdout.readline()
                    self.assertTrue(line, text)
                    text += line
                export, server = re.search(r"(?m)^ +files in (.*), process (\d+)$", text).groups()
                os.kill(int(server), 0)
                self.assertIn(".canopy", os.listdir(export))
                self.assertIn(f"SharedDomains/{self.stack.facts['domain']}/[a-z].sub nfs1\n", text)
                self.assertRegex(text, r"(?m)^# store nfs1: \w+, .* free, \d+ under way")
                self.assertIn("SharedDomains", os.listdir(re.search(r"(?m)^  mount  (.*)$", text).group(1)))
                for command in re.findall(r"(?m)^  (\S*canopyctl .*)$", text):
                    subprocess.run(shlex.split(command), capture_output=True, check=True, timeout=120)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
                process.stdout.close()

    def test_wrong_use_is_said(self):
        for wrong in (["--nfs", "0"], ["--version", "5"], ["--port-base", "0"]):
            done = subprocess.run([sys.executable, os.path.join(SOURCE, "tools/cluster.py"), *wrong], capture_output=True,
                                  text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 2, wrong)


if __name__ == "__main__":
    unittest.main()
