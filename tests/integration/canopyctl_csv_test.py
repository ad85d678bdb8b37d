"""canopyctl account create --from-csv: rows of every form, failures by line, and a run that is killed and goes on."""
import json
import os
import subprocess
import time
import unittest

from ctl_case import CTL, FAILED, NOT_FOUND, CtlCase
from stack import SANITIZED


class FromCsv(CtlCase):
    def csv(self, name, text):
        path = os.path.join(self.stack.directory, name)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        return path

    def test_rows_with_titles_quotes_passwords_and_settings(self):
        self.ctl("domain", "create", "rows.example")
        path = self.csv("rows.csv", '\ufeffname,password,settings\r\n'
                        'anna,"pass,""word""",{MessageLimit=#9;}\r\n'
                        'bert@rows.example,,"{Text=""two lines"";\r\nMore=#2;}"\r\n'
                        '\r\n'
                        'carl\r\n')
        self.assertEqual(self.ctl("account", "create", "--from-csv", path, "--domain", "rows.example"),
                         {"created": 3, "existed": 0, "failed": 0})
        self.assertEqual(self.ctl("account", "list", "rows.example"), ["anna", "bert", "carl"])
        self.assertEqual(self.ctl("account", "show", "anna@rows.example")["quota_messages"], 9)
        self.assertIn("Password", self.ctl("settings", "get", "anna@rows.example")["values"])
        self.assertEqual(self.ctl("settings", "get", "bert@rows.example", "--key", "Text"), "two lines")
        self.assertFalse(os.path.exists(path + ".canopy-state"))
        again = self.stack.ctl("--json", "account", "create", "--from-csv", path, "--domain", "rows.example",
                               check=False)
        self.assertEqual((again.returncode, json.loads(again.stdout)["failed"]), (FAILED, 3))
        self.assertEqual(self.ctl("account", "create", "--from-csv", path, "--domain", "rows.example", "--exist-ok"),
                         {"created": 0, "existed": 3, "failed": 0})

    def test_a_row_that_cannot_be_is_named_by_its_line_and_the_others_are_made(self):
        self.ctl("domain", "create", "lines.example")
        path = self.csv("lines.csv", "good1@lines.example\n.bad@lines.example\ngood2@lines.example\n"
                        "x@nowhere.example\ngood3@lines.example,,{MessageLimit=many;}\n")
        done = self.stack.ctl("--json", "account", "create", "--from-csv", path, check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertEqual(json.loads(done.stdout), {"created": 2, "existed": 0, "failed": 3})
        for line in ("line 2: .bad@lines.example: ", "line 4: x@nowhere.example: ", "line 5: good3@lines.example: "):
            self.assertIn(line, done.stderr)
        self.assertEqual(self.ctl("account", "list", "lines.example"), ["good1", "good2"])

    def test_a_row_that_is_no_utf_8_fails_alone(self):
        self.ctl("domain", "create", "latin.example")
        path = self.csv("latin.csv", "")
        for rows, created in ((b"one,,\n\xff\xfe,,\ntwo,,\n", 2), (b"caf\xe9,,\n", 0)):
            with open(path, "wb") as file:
                file.write(rows)
            done = self.stack.ctl("--json", "account", "create", "--from-csv", path, "--domain", "latin.example",
                                  check=False)
            self.assertEqual(done.returncode, FAILED, done.stderr)
            self.assertEqual(json.loads(done.stdout), {"created": created, "existed": 0, "failed": 1})
            self.assertIn(f"line {created}: it has bytes that are no UTF-8" if created else "line 1: it has bytes",
                          done.stderr)
        self.assertEqual(self.ctl("account", "list", "latin.example"), ["one", "two"])

    def test_a_file_that_is_no_csv_is_refused_by_its_line(self):
        path = self.csv("broken.csv", 'a@company.com\n"b@company.com\n')
        done = self.stack.ctl("account", "create", "--from-csv", path, check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn("broken.csv:2: a quoted field does not end", done.stderr)
        self.refused(FAILED, "account", "create", "--from-csv", self.csv("short.csv", "nodomain\n"), "--restart")
        self.refused(NOT_FOUND, "account", "create", "--from-csv", path + ".absent")

    def test_a_run_that_is_killed_in_the_middle_goes_on_and_every_account_is_made_once(self):
        rows = 8000
        self.ctl("domain", "create", "many.example", "--account-foldering", "hash-1-1")
        path = self.csv("many.csv", "".join(f"user{i:06}@many.example\n" for i in range(rows)))
        state, command = path + ".canopy-state", ("account", "create", "--from-csv", path)
        for _ in range(2):
            run = subprocess.Popen([CTL, "--server", "unix:" + self.stack.facts["socket"], *command],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            before = self.offset(state)
            while run.poll() is None and self.offset(state) <= before:  # until it has noted some progress
                time.sleep(0.002)
            self.assertIsNone(run.poll(), "it ended before it could be killed")
            run.kill()
            run.communicate()
            if self.offset(state) > 0.5 * os.path.getsize(path):
                break
        with open(path, "a", encoding="utf-8") as file:
            file.write("late@many.example\n")
        error = self.refused(FAILED, *command)
        self.assertIn("--restart", error["message"])
        os.truncate(path, os.path.getsize(path) - len("late@many.example\n"))
        done = self.stack.ctl("--json", *command, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("going on at line", done.stderr)
        counts = json.loads(done.stdout)
        self.assertEqual((counts["created"] + counts["existed"], counts["failed"]), (rows, 0))
        self.assertEqual(self.ctl("account", "list", "many.example"), [f"user{i:06}" for i in range(rows)])
        self.assertFalse(os.path.exists(state))

    @staticmethod
    def offset(state):
        try:
            with open(state, encoding="utf-8") as file:
                return json.load(file)["offset"]
        except (FileNotFoundError, json.JSONDecodeError):
            return 0

    @unittest.skipIf(SANITIZED, "sanitizers keep what was freed")
    def test_memory_does_not_grow_with_the_file(self):
        self.ctl("domain", "create", "size.example")
        # Rows that are refused cost the daemon little.
        peaks = []
        for repeats in (10000, 100000):
            path = self.csv(f"size{repeats}.csv", (".no@size.example,," + "{Note=" + "x" * 200 + ";}\n") * repeats)
            run = subprocess.Popen([CTL, "--server", "unix:" + self.stack.facts["socket"], "account", "create",
                                    "--from-csv", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            peak = 0
            while run.poll() is None:
                peak = max(peak, self.peak_kib(run.pid))
                time.sleep(0.01)
            self.assertEqual(run.returncode, FAILED)
            peaks.append(peak)
        self.assertLess(peaks[1], peaks[0] + 8 * 1024, peaks)  # KiB; the larger file has 22 MB

    @staticmethod
    def peak_kib(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    unittest.main()
