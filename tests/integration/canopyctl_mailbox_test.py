"""canopyctl mailbox and check: mailboxes, messages in and out of mbox, Maildir and .eml files."""
import json
import mailbox
import os
import signal
import subprocess
import time
import unittest

from ctl_case import CTL, FAILED, NOT_FOUND, CtlCase

SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = 1, 2, 4, 8, 16
# (content, seconds since 1970, flags by Python's mbox letters, keywords)
MESSAGES = [
    (b"From: ann@example.org\nSubject: plain\n\nFrom here on\n>From there\n\nend\n", 1700000000, "RO", ["work"]),
    (b"Subject: flagged\n\n.dot\n..two dots\n", 1600000000, "FA", ["$Forwarded", "later"]),
    ("Subject: äöü\n\n8-bit: ß €\n".encode(), 1500000000, "D", []),
    (b"Subject: draft\n\n\n\nblank lines around\n\n\n", 1400000000, "T", []),
    (b"Subject: empty\n\n", 1300000000, "", []),
]
BITS = {"R": SEEN, "A": ANSWERED, "F": FLAGGED, "D": DELETED, "T": DRAFT}


def write_mbox(path, messages):
    with open(path, "wb") as file:
        for content, date, flags, keywords in messages:
            header, body = content.split(b"\n\n", 1)
            quoted = b"\n".join(b">" + line if line.lstrip(b">").startswith(b"From ") else line
                                for line in body.split(b"\n"))
            file.write(f"From sender@example.org {time.asctime(time.gmtime(date))}\n".encode() + header + b"\n")
            file.write(b"Status: " + ("R" if "R" in flags else "").encode() + b"O\n")
            file.write(b"X-Status: " + "".join(c for c in flags if c in "AFDT").encode() + b"\n")
            if keywords:
                file.write(b"X-Keywords: " + " ".join(keywords).encode() + b"\n")
            file.write(b"\n" + quoted + b"\n")


def wire(content):
    return content.replace(b"\n", b"\r\n")


def expected(messages):
    return [(wire(content), date, sum(BITS.get(flag, 0) for flag in flags), sorted(keywords))
            for content, date, flags, keywords in messages]


def read_terminal(master):
    """What programs write to the terminal until the last of them has closed it."""
    shown = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    return shown


class MailboxCase(CtlCase):
    number = 0

    def path(self, name):
        MailboxCase.number += 1
        return os.path.join(self.stack.directory, f"{MailboxCase.number}-{name}")

    def account(self):
        MailboxCase.number += 1
        name = f"box{MailboxCase.number}@company.com"
        self.ctl("account", "create", name, "--no-password")
        return name

    def messages_of(self, account, box="INBOX"):
        """What is in the account, by way of an export to .eml files with their index."""
        path = self.path("eml")
        self.ctl("mailbox", "export", account, path, "--mailbox", box, "--format", "eml")
        found = []
        with open(os.path.join(path, "index.tsv"), encoding="utf-8") as index:
            for line in index:
                if line.startswith("#"):
                    continue
                name, date, _, flags, keywords = line.rstrip("\n").split("\t")
                with open(os.path.join(path, name), "rb") as file:
                    found.append((file.read(), int(date), int(flags), sorted(keywords.split())))
        return found


class Mailboxes(MailboxCase):
    def test_mailboxes_are_made_renamed_with_what_is_below_and_deleted(self):
        account = self.account()
        self.assertEqual([box["name"] for box in self.ctl("mailbox", "list", account)], ["INBOX"])
        self.ctl("mailbox", "create", account, "Work/Projects/Canopy")
        self.ctl("mailbox", "create", account, "Entwürfe")
        self.ctl("mailbox", "rename", account, "Work", "Arbeit")
        names = [box["name"] for box in self.ctl("mailbox", "list", account)]
        self.assertEqual(sorted(names), ["Arbeit", "Arbeit/Projects", "Arbeit/Projects/Canopy", "Entwürfe", "INBOX"])
        self.assertIn("Entwürfe", self.text("mailbox", "list", account))
        self.ctl("mailbox", "delete", account, "Arbeit/Projects/Canopy")
        self.assertNotIn("Arbeit/Projects/Canopy", self.text("mailbox", "list", account))
        self.refused(FAILED, "mailbox", "create", account, "Entwürfe")
        self.refused(FAILED, "mailbox", "delete", account, "INBOX")
        self.refused(NOT_FOUND, "mailbox", "delete", account, "None")
        self.refused(NOT_FOUND, "mailbox", "rename", account, "None", "Other")
        self.refused(FAILED, "mailbox", "rename", account, "Arbeit", "Entwürfe")
        for bad in ("", "/x", "x/", "a//b", "tab\there"):
            self.refused(FAILED, "mailbox", "create", account, bad)
        self.refused(NOT_FOUND, "mailbox", "list", "none@company.com")

    def test_cat_prints_the_bytes_of_messages(self):
        account, path = self.account(), self.path("box")
        write_mbox(path, MESSAGES)
        self.ctl("mailbox", "import", account, path)
        done = subprocess.run([CTL, "--server", "unix:" + self.stack.facts["socket"], "mailbox", "cat", account, "INBOX",
                               "1", "3"], capture_output=True, timeout=60, check=True)
        self.assertEqual(done.stdout, wire(MESSAGES[0][0]) + wire(MESSAGES[2][0]))
        rows = self.ctl("mailbox", "cat", account, "INBOX", "3")
        self.assertEqual((rows[0]["uid"], rows[0]["content"].encode()), (3, wire(MESSAGES[2][0])))
        self.refused(NOT_FOUND, "mailbox", "cat", account, "INBOX", "99")
        self.refused(NOT_FOUND, "mailbox", "cat", account, "None", "1")


class RoundTrips(MailboxCase):
    def test_every_format_keeps_content_dates_flags_and_keywords_both_ways(self):
        account, path = self.account(), self.path("box")
        write_mbox(path, MESSAGES)
        self.assertEqual(self.ctl("mailbox", "import", account, path), {"imported": len(MESSAGES), "earlier": 0})
        self.assertEqual(self.messages_of(account), expected(MESSAGES))
        for kind in ("mbox", "maildir", "eml"):
            with self.subTest(format=kind):
                out, other = self.path(kind), self.account()
                exported = self.ctl("mailbox", "export", account, out, "--format", kind)
                self.assertEqual(exported["messages"], len(MESSAGES))
                self.ctl("mailbox", "import", other, out, "--mailbox", "From/" + kind)
                self.assertEqual(self.messages_of(other, "From/" + kind), expected(MESSAGES))
                self.refused(FAILED, "mailbox", "export", account, out, "--format", kind)

    def test_python_reads_the_mbox_and_the_maildir_that_were_written(self):
        account, path = self.account(), self.path("box")
        write_mbox(path, MESSAGES)
        self.ctl("mailbox", "import", account, path)
        out = self.path("mbox")
        self.ctl("mailbox", "export", account, out)
        box = mailbox.mbox(out, create=False)
        self.addCleanup(box.close)
        self.assertEqual(len(box), len(MESSAGES))
        for message, (content, date, flags, _) in zip(box, MESSAGES):
            self.assertEqual(message["Subject"] is None, b"Subject" not in content)
            self.assertEqual(set(message.get_flags()) - {"O"}, set(flags) - {"O"})
            self.assertTrue(message.get_from().endswith(time.asctime(time.gmtime(date))), message.get_from())
        out = self.path("maildir")
        self.ctl("mailbox", "export", account, out, "--format", "maildir")
        found = {}
        for message in mailbox.Maildir(out, create=False):
            found[message.get_date()] = set(c for c in message.get_flags() if c.isupper()) - {"P"}
        letters = {"R": "S", "A": "R", "F": "F", "D": "T", "T": "D"}
        self.assertEqual(found, {date: {letters[c] for c in flags if c in letters} for _, date, flags, _ in MESSAGES})

    def test_mail_that_python_wrote_is_read(self):
        account, path = self.account(), self.path("maildir")
        source = mailbox.Maildir(path)
        folder = source.add_folder("Lists.canopy")
        for number, (into, flags) in enumerate(((source, "S"), (source, "FR"), (folder, "T"), (folder, ""))):
            message = mailbox.MaildirMessage(f"Subject: {number}\n\nbody\n".encode())
            message.set_date(1500000000 + number)
            message.set_subdir("cur" if flags else "new")
            message.set_flags(flags)
            into.add(message)
        self.assertEqual(self.ctl("mailbox", "import", account, path)["imported"], 4)
        found = self.messages_of(account) + self.messages_of(account, "Lists/canopy")
        self.assertEqual(sorted((date, flags) for _, date, flags, _ in found),
                         [(1500000000, SEEN), (1500000001, FLAGGED | ANSWERED), (1500000002, DELETED), (1500000003, 0)])
        single = self.path("one.eml")
        with open(single, "wb") as file:
            file.write(b"Subject: single\n\nalone\n")
        os.utime(single, (1234567890, 1234567890))
        self.ctl("mailbox", "import", account, single, "--mailbox", "Single")
        self.assertEqual(self.messages_of(account, "Single"), [(b"Subject: single\r\n\r\nalone\r\n", 1234567890, 0, [])])

    def test_a_whole_account_goes_out_and_in_with_its_mailboxes_even_empty_ones(self):
        account, path = self.account(), self.path("box")
        write_mbox(path, MESSAGES)
        self.ctl("mailbox", "import", account, path)
        self.ctl("mailbox", "import", account, path, "--mailbox", "Lists/a.b/Entwürfe")
        self.ctl("mailbox", "create", account, "Empty")
        self.ctl("mailbox", "create", account, "cur")  # a directory of this name makes a Maildir
        boxes = {box["name"]: box["messages"] for box in self.ctl("mailbox", "list", account)}
        self.assertEqual((boxes["INBOX"], boxes["Lists/a.b/Entwürfe"], boxes["Empty"]),
                         (len(MESSAGES), len(MESSAGES), 0))
        for kind in ("maildir", "mbox", "eml"):
            with self.subTest(format=kind):
                out, other = self.path(kind), self.account()
                self.assertEqual(self.ctl("mailbox", "export", account, out, "--all", "--format", kind)["messages"],
                                 2 * len(MESSAGES))
                self.assertEqual(self.ctl("mailbox", "import", other, out),
                                 {"imported": 2 * len(MESSAGES), "earlier": 0})
                self.assertEqual({box["name"]: box["messages"] for box in self.ctl("mailbox", "list", other)}, boxes)
                for box in ("INBOX", "Lists/a.b/Entwürfe"):
                    self.assertEqual(self.messages_of(other, box), expected(MESSAGES))
                self.assertEqual(self.ctl("mailbox", "import", other, out, "--format", kind)["imported"], 0)
                self.ctl("mailbox", "import", other, out, "--mailbox", "Old", "--again")
                self.assertEqual(self.messages_of(other, "Old"), expected(MESSAGES))

    def test_a_directory_without_mail_is_refused_by_its_name(self):
        account, empty = self.account(), self.path("empty")
        os.mkdir(empty)
        nested = self.path("nested")
        os.makedirs(os.path.join(nested, "INBOX", "deeper"))
        for path, bad, kinds in ((empty, empty, ("", "mbox", "eml")), (nested, os.path.join(nested, "INBOX"), ("", "eml"))):
            for kind in kinds:
                error = self.refused(FAILED, "mailbox", "import", account, path, *(("--format", kind) if kind else ()))
                self.assertEqual(error["object"], bad)
                self.assertIn("nothing to import", error["message"])

    def test_an_empty_mbox_holds_no_message(self):
        account, path = self.account(), self.path("empty.mbox")
        with open(path, "wb"):
            pass
        for source in (path, os.devnull):
            self.assertEqual(self.ctl("mailbox", "import", account, source, "--state-file", path + ".state")["imported"],
                             0)
        self.assertEqual(self.messages_of(account), [])

    def test_a_message_larger_than_a_chunk_goes_in_and_out(self):
        account, path, out = self.account(), self.path("large.eml"), self.path("out")
        content = b"Subject: large\r\n\r\n" + b"".join(b"%07d" % i + b"x" * 63 + b"\r\n" for i in range(100_000))
        with open(path, "wb") as file:
            file.write(content)
        self.ctl("mailbox", "import", account, path)
        self.ctl("mailbox", "export", account, out, "--format", "eml")
        with open(os.path.join(out, "1.eml"), "rb") as file:
            self.assertEqual(file.read(), content)

    def test_what_is_no_mail_is_refused_by_name(self):
        account, path = self.account(), self.path("text")
        with open(path, "wb") as file:
            file.write(b"Subject: x\n\nbody\n")
        error = self.refused(FAILED, "mailbox", "import", account, path, "--format", "mbox")
        self.assertEqual((error["name"], error["object"]), ("invalid-argument", path + ":0"))
        latin = self.path("latin.mbox")
        with open(latin, "wb") as file:
            file.write(b"From a Thu Nov 24 10:11:12 2016\nX-Keywords: sp\xe4ter\n\nbody\n")
        error = self.refused(FAILED, "mailbox", "import", account, latin)
        self.assertEqual((error["object"], "no UTF-8" in error["message"]), (latin + ":0", True))
        self.refused(FAILED, "mailbox", "import", account, path, "--format", "pst", "--restart")
        self.refused(NOT_FOUND, "mailbox", "import", account, path + ".absent")
        self.refused(NOT_FOUND, "mailbox", "export", account, path + ".out", "--mailbox", "None")
        self.refused(NOT_FOUND, "mailbox", "import", "none@company.com", path)


class LongImports(MailboxCase):
    COUNT = 20000

    def big_mbox(self):
        path = self.path("big")
        with open(path, "wb") as file:
            for i in range(self.COUNT):
                file.write(f"From a@b {time.asctime(time.gmtime(1700000000 + i))}\nSubject: {i}\n\nbody {i}\n\n".encode())
        return path

    def start_import(self, account, path, *more):
        return subprocess.Popen([CTL, "--json", "--server", "unix:" + self.stack.facts["socket"], "mailbox", "import",
                                 account, path, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def count(self, account):
        return self.ctl("mailbox", "list", account)[0]["messages"]

    def test_an_import_that_is_killed_or_interrupted_goes_on_without_doubles(self):
        account, path = self.account(), self.big_mbox()
        for how in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            before = self.count(account)
            run = self.start_import(account, path)
            while run.poll() is None and self.count(account) < before + 500:
                time.sleep(0.002)
            self.assertIsNone(run.poll(), "it ended before it could be stopped")
            run.send_signal(how)
            run.communicate()
        done = self.start_import(account, path)
        out, err = done.communicate(timeout=240)
        self.assertEqual(done.returncode, 0, err)
        self.assertIn("going on after ", err)
        counts = json.loads(out)
        self.assertEqual(counts["imported"] + counts["earlier"], self.COUNT)
        self.assertGreater(counts["earlier"], 0)
        found = self.messages_of(account)
        self.assertEqual([date for _, date, _, _ in found], list(range(1700000000, 1700000000 + self.COUNT)))
        self.assertFalse(os.path.exists(path + ".canopy-state"))

    def test_the_same_file_again_adds_nothing_unless_asked_for(self):
        account, path = self.account(), self.path("box")
        write_mbox(path, MESSAGES)
        self.ctl("mailbox", "import", account, path)
        self.assertEqual(self.ctl("mailbox", "import", account, os.path.relpath(path)),
                         {"imported": 0, "earlier": len(MESSAGES)})
        self.assertEqual(self.ctl("mailbox", "import", account, path, "--again"),
                         {"imported": len(MESSAGES), "earlier": 0})
        self.assertEqual(self.count(account), 2 * len(MESSAGES))

    def test_a_stopped_import_is_not_mixed_up_with_another_target(self):
        account, path = self.account(), self.path("box")
        write_mbox(path, MESSAGES)
        with open(path + ".canopy-state", "w", encoding="utf-8") as file:
            json.dump({"target": "other@company.com\nINBOX", "done": 2, "salt": ""}, file)
        self.assertEqual(self.refused(FAILED, "mailbox", "import", account, path)["name"], "conflict")
        self.ctl("mailbox", "import", account, path, "--restart")
        self.assertEqual(self.count(account), len(MESSAGES))

    def test_progress_is_shown_on_a_terminal(self):
        account, path = self.account(), self.big_mbox()
        master, slave = os.openpty()
        run = subprocess.Popen([CTL, "--server", "unix:" + self.stack.facts["socket"], "mailbox", "import", account, path],
                               stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        shown = read_terminal(master)
        out, _ = run.communicate(timeout=120)
        self.assertEqual(run.returncode, 0)
        self.assertIn(f"{self.COUNT} messages imported".encode(), out)
        self.assertRegex(shown, rb"\r[0-9]+ messages, [0-9]+/s")


class Looking(MailboxCase):
    def test_locate_names_the_files_and_check_finds_them_whole(self):
        account, path = self.account(), self.path("box")
        write_mbox(path, MESSAGES)
        self.ctl("mailbox", "import", account, path)
        located = self.ctl("locate", account)
        self.assertEqual(located["store"], "root")
        for file in located["files"]:
            self.assertEqual(os.path.getsize(self.base(file["path"])), file["bytes"])
        self.assertIn(located["account_directory"], self.text("locate", account))
        self.refused(NOT_FOUND, "locate", "none@company.com")
        for scope in ((), ("company.com",), (account,)):
            report = self.ctl("check", *scope)
            self.assertEqual((report["damages"], report["unrepaired"]), ([], 0))
            self.assertGreater(report["bytes"], 0)
        self.refused(NOT_FOUND, "check", "none@company.com")
        self.refused(NOT_FOUND, "check", "none.example")
        for nothing in ("", "@"):  # a script's empty variable is not everything
            for more in ((), ("--repair",)):
                error = self.refused(FAILED, "check", nothing, *more)
                self.assertEqual((error["name"], error["object"]), ("invalid-argument", "scope"))
                self.assertIn("give no scope", error["message"])

    def test_status_and_top(self):
        status = self.ctl("status")
        self.assertEqual((status["slots_owned"], status["stores"][0]["state"]), (4096, "up"))
        self.assertEqual(status["base"], self.stack.facts.get("tree", self.stack.facts["base"]))
        self.assertIn("accounts open", self.text("status"))
        done = self.stack.ctl("--json", "top", "--ticks", "3", "--interval", "0.05")
        ticks = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(ticks), 3)
        self.assertLess(ticks[0]["uptime_seconds"], ticks[2]["uptime_seconds"])
        self.assertIn("requests", ticks[0]["per_second"])
        self.assertIn("deliveries", self.text("top", "--ticks", "1", "--interval", "0.05"))

    def test_without_a_daemon_the_answer_is_temporary_and_says_what_to_do(self):
        done = subprocess.run([CTL, "--server", "unix:" + self.path("nothing.sock"), "status"], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout), (4, ""))
        self.assertIn("check that canopyd runs", done.stderr)
        wrong = subprocess.run([CTL, "--server", "nonsense", "status"], capture_output=True, text=True, timeout=60,
                               check=False)
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("nonsense", wrong.stderr)


class Damage(MailboxCase):
    def test_check_names_a_damaged_byte_by_file_and_offset(self):
        account, path = self.account(), self.path("box")
        write_mbox(path, MESSAGES)
        self.ctl("mailbox", "import", account, path)
        slices = [each["path"] for each in self.ctl("locate", account)["files"] if each["kind"] == "slice"]
        with open(self.base(slices[0]), "r+b") as file:
            at = file.read().index(b"flagged")
            file.seek(at)
            file.write(b"F")
        done = self.stack.ctl("--json", "check", account, check=False)
        self.assertEqual(done.returncode, FAILED)
        report = json.loads(done.stdout)
        self.assertEqual((report["unrepaired"], len(report["damages"])), (1, 1))
        damage = report["damages"][0]
        self.assertEqual((damage["file"], damage["account"]), (slices[0], account))
        self.assertLessEqual(damage["offset"], at)
        self.assertLess(at, damage["offset"] + damage["length"])
        text = self.stack.ctl("check", account, check=False)
        self.assertIn(f"{slices[0]}:{damage['offset']}: ", text.stdout)


if __name__ == "__main__":
    unittest.main()
