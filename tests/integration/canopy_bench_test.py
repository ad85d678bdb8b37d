"""Every scenario of canopy-bench runs for a moment against the real stack. How fast is not looked at here."""
import json
import os
import subprocess
import tempfile
import unittest

from mounted import Mounted
from stack import BIN, Stack

PASSWORD = "bench-password"
ACCOUNTS = 4


def bench(*arguments):
    return subprocess.run([os.path.join(BIN, "canopy-bench"), *arguments], capture_output=True, text=True, timeout=120,
                          check=False)


class Scenarios(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.stack.start()
        cls.addClassCleanup(cls.stack.__exit__)
        for number in range(ACCOUNTS):
            cls.stack.ctl("account", "create", f"user{number:05d}@company.com", "--password-file", "-",
                          stdin=PASSWORD + "\n")
        cls.wire = "unix:" + cls.stack.facts["socket"]

    def tcp(self, name):
        return "tcp:" + self.stack.facts[name]

    def measured(self, *arguments):
        done = bench("--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1)
        report = json.loads(done.stdout)
        self.assertEqual(report["scenario"], arguments[0])
        self.assertTrue(report["rows"])
        return report["rows"]

    def stored(self, account="user00000@company.com"):
        return json.loads(self.stack.ctl("--json", "account", "show", account).stdout)["messages"]

    def test_lmtp_delivers_what_it_counts(self):
        before = sum(self.stored(f"user{number:05d}@company.com") for number in range(ACCOUNTS))
        rows = self.measured("lmtp", "--connect", self.tcp("lmtp"), "--connections", "1,3", "--accounts", str(ACCOUNTS),
                             "--sizes", "600-2000", "--seconds", "0.3", "--warmup", "0")
        self.assertEqual([row["connections"] for row in rows], [1, 3])
        for row in rows:
            self.assertGreater(row["deliveries"], 0)
            self.assertEqual(row["errors"], 0)
        after = sum(self.stored(f"user{number:05d}@company.com") for number in range(ACCOUNTS))
        self.assertGreaterEqual(after - before, sum(row["deliveries"] for row in rows))

    def test_pop3_fills_and_reads_also_once_for_each_account(self):
        arguments = ["pop3", "--connect", self.tcp("pop3"), "--tls", "stls", "--password-pattern", PASSWORD,
                     "--accounts", str(ACCOUNTS), "--connections", "2"]
        row, = self.measured(*arguments, "--lmtp", self.tcp("lmtp"), "--fill", "--messages", "5", "--sizes", "600-900",
                             "--seconds", "0.5", "--warmup", "0")
        self.assertEqual(row["errors"], 0)
        self.assertGreater(row["sessions"], 0)
        self.assertGreaterEqual(row["messages"], 5 * row["sessions"])
        cold, = self.measured(*arguments, "--once", "--login-only")
        self.assertEqual((cold["sessions"], cold["errors"]), (ACCOUNTS, 0))
        wrong = bench(*[word.replace(PASSWORD, "wrong") for word in arguments], "--once", "--login-only")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("-ERR", wrong.stderr)

    def test_wire_answers_alone_and_pipelined(self):
        rows = self.measured("wire", "--server", self.wire, "--depths", "1,16", "--seconds", "0.2")
        ours = {row["depth"]: row for row in rows if not row["what"].startswith("raw")}
        self.assertEqual(set(ours), {1, 16})
        self.assertGreater(ours[1]["p50_to_raw_tcp"], 0)
        for row in rows:
            self.assertGreater(row["requests_per_s"], 0)
            self.assertLessEqual(row["p50_us"], row["p99_us"])

    def test_idle_connections_are_held_and_answer(self):
        for tls in ("stls", "pop3s"):
            port = "pop3s" if tls == "pop3s" else "pop3"
            held, *probes = self.measured("idle", "--connect", self.tcp(port), "--tls", tls, "--connections", "40",
                                          "--settle", "0", "--rounds", "2", "--pid", str(os.getpid()))
            self.assertEqual((held["connections"], held["failed"]), (40, 0))
            self.assertIn("kib_per_connection", held)
            self.assertEqual([(row["connections"], row["failed"]) for row in probes], [(40, 0)] * 2)
        logged_in, _ = self.measured("idle", "--connect", self.tcp("pop3s"), "--tls", "pop3s", "--connections",
                                     str(ACCOUNTS), "--login", "--password-pattern", PASSWORD, "--settle", "0",
                                     "--rounds", "1")
        self.assertEqual((logged_in["connections"], logged_in["failed"]), (ACCOUNTS, 0))

    def test_accounts_are_created_listed_and_opened(self):
        arguments = ["accounts", "--server", self.wire, "--account-pattern", "a%04d@many.example.com", "--count", "30",
                     "--block", "10", "--batch", "5", "--opens", "7"]
        rows = self.measured(*arguments)
        self.assertEqual([(row["step"], row["count"]) for row in rows],
                         [("create", 10)] * 3 + [("list", 30), ("open at random", 7)])
        self.assertEqual(len(self.measured(*arguments)), 5)  # a second time they are there

    def test_infos_are_rewritten_read_and_weighed(self):
        self.stack.ctl("domain", "create", "sip.example", "--account-foldering", "1", "--fast-index", "1")
        pattern = ("--account-pattern", "phone%03d@sip.example")
        self.measured("accounts", "--server", self.wire, *pattern, "--count", "20", "--opens", "1")
        fast = os.path.join(self.stack.facts["base"], "SharedDomains", "fast")
        rows = self.measured("info", "--server", self.wire, *pattern, "--count", "20", "--fill", "--read", "--seconds", "0.3",
                             "--parallel", "30", "--bytes", "400", "--dir", fast, "--pid", str(os.getpid()))
        found = {row["step"]: row for row in rows}
        self.assertEqual(found["write each once"]["count"], 20)
        self.assertGreater(found["rewrite at random"]["count"], 0)
        self.assertEqual(found["read settings and info"]["count"], 40)
        for kind in ("settings", "info"):
            self.assertEqual(found["space of ." + kind]["count"], 20)
        self.assertGreater(found["space of .info"]["mib"] * 2**20, 20 * 380)
        info = self.stack.ctl("info", "get", "phone007@sip.example").stdout
        self.assertRegex(info, r"Contact *= *\"sip:")
        nobody = bench("info", "--server", self.wire, "--account-pattern", "nobody%d@sip.example", "--count", "1", "--fill")
        self.assertEqual(nobody.returncode, 1)
        self.assertIn("nobody0@sip.example", nobody.stderr)

    def test_moves_asks_while_accounts_move_and_while_they_do_not(self):
        self.stack.ctl("domain", "create", "moves.example", "--account-foldering", "1")
        pattern = ("--account-pattern", "user%03d@moves.example")
        self.measured("accounts", "--server", self.wire, *pattern, "--count", "20", "--opens", "1")
        ctl = f"{os.path.join(BIN, 'canopyctl')} --server {self.wire}"
        arguments = ["moves", "--server", self.wire, *pattern, "--count", "6", "--parallel", "3", "--pause-ms", "1", "--seconds", "0.2",
                     "--fill-mib", "2", "--fill-count", "1", "--relocation", "moves.example"]
        rows = self.measured(*arguments, *[word for layout in ("2-1", "flat")
                                           for word in ("--change", f"{ctl} domain set moves.example Foldering={layout} >/dev/null")])
        self.assertEqual(len(rows), 4)
        for still, moving in (rows[:2], rows[2:]):
            self.assertEqual(still["while"], "nothing moves")
            self.assertIn(still["accounts"], range(1, 7))  # as many as came to their turn
            self.assertEqual(moving["moved"], 20)
            self.assertGreaterEqual(moving["wait_max_ms"], moving["wait_p99_ms"])
        self.assertGreater(self.stored("user000@moves.example"), 2)
        wrong = bench(*arguments, "--change", "exit 3")
        self.assertEqual((wrong.returncode, "status 768" in wrong.stderr), (1, True), wrong.stderr)

    def test_open_fills_and_opens(self):
        rows = self.measured("open", "--server", self.wire, "--account", "albert@company.com", "--messages", "50",
                             "--fill", "--rounds", "2")
        self.assertGreater(rows[-1]["p50_us"], 0)
        self.assertEqual(self.stored("albert@company.com"), 50)

    def test_open_starts_a_server_of_its_own_for_each_round(self):
        canopyd = os.path.join(BIN, "canopyd")
        with tempfile.TemporaryDirectory() as directory:
            base, socket = os.path.join(directory, "base"), "unix:" + os.path.join(directory, "socket")
            account = ("--account", "albert@company.com")
            with subprocess.Popen([canopyd, "--init", "--dir", base, "--listen", socket, "--frontend-uid",
                                   str(os.getuid())], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
                server.stdout.readline()  # ready
                for words in (("domain", "create", "company.com"), ("account", "create", account[1], "--no-password")):
                    subprocess.run([os.path.join(BIN, "canopyctl"), "--server", socket, *words], check=True,
                                   stdout=subprocess.DEVNULL)
                self.measured("open", "--server", socket, *account, "--messages", "20", "--fill", "--rounds", "1")
                server.terminate()
            rows = self.measured("open", "--canopyd", canopyd, "--dir", base, *account, "--rounds", "3")
            self.assertEqual([row["messages"] for row in rows], [20, 20])
            self.assertGreater(rows[0]["min_us"], 0)
            self.assertLessEqual(rows[0]["min_us"], rows[0]["p50_us"] * 1.02)  # p50 is rounded
            gone = bench("open", "--canopyd", canopyd, "--dir", directory + "/gone", *account, "--rounds", "1")
            self.assertEqual(gone.returncode, 1)
            self.assertIn("before it was ready", gone.stderr)

    def test_raw_needs_no_server_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as directory:
            row, = self.measured("raw", "--dir", directory, "--writers", "2", "--files", "10", "--seconds", "0.2")
            self.assertEqual(row["writers"], 2)
            self.assertEqual(os.listdir(directory), [])

    @unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
    def test_staleness_looks_through_one_mount_at_what_another_changes(self):
        with Mounted(self.stack) as one, Mounted(self.stack) as other:
            before = self.stored()
            through = ["staleness", "--dir", one.directory, "--other", other.directory, "--raw", "SharedDomains/company.com",
                       "--mailbox", "accounts/company.com/user00000/INBOX", "--rounds", "2"]
            self.assertEqual([row["times"] for row in self.measured(*through)], [2] * 11)
            self.assertEqual(self.stored(), before)
            rows = self.measured(*through, "--server", self.wire)
            self.assertEqual([row["times"] for row in rows], [2] * 16)
            self.assertEqual([row["change"] for row in rows[11:13]], ["account created", "account removed"])
            self.assertEqual(self.stored(), before + 2)  # what the wire protocol delivered stays
            self.assertEqual([name for name in os.listdir(one.path("SharedDomains", "company.com")) if "bench" in name], [])

    def test_without_json_it_prints_a_table(self):
        done = bench("wire", "--server", self.wire, "--depths", "1", "--seconds", "0.1", "--no-raw")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout.splitlines()[1], r"what +depth +requests_per_s")

    def test_failures_and_wrong_usage_are_told_apart(self):
        nobody = bench("lmtp", "--connect", "unix:/nowhere/at-all", "--seconds", "0.1", "--warmup", "0")
        self.assertEqual(nobody.returncode, 1)
        self.assertIn("/nowhere/at-all", nobody.stderr)
        for wrong in ([], ["juggle"], ["wire"], ["wire", "--server", self.wire, "--depths", "0"]):
            self.assertEqual(bench(*wrong).returncode, 2, wrong)
        for help_of in ([], ["lmtp"], ["pop3"], ["wire"], ["raw"], ["idle"], ["accounts"], ["info"], ["open"], ["compare"]):
            self.assertEqual(bench(*help_of, "--help").returncode, 0, help_of)
        compared = bench("compare", "dovecot", "--", "--help")
        self.assertEqual(compared.returncode, 0, compared.stderr)
        self.assertIn("--rounds", compared.stdout)


if __name__ == "__main__":
    unittest.main()
