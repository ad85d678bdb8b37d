"""tests/formats/reader.py, written from docs/formats alone, against trees that the daemon wrote: it must say what
the daemon says, and name what is damaged."""
import json
import mailbox as mailboxes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from stack import BIN, SOURCE, Stack
from thin_line_test import deliver, messages_over_pop3
from wire import Wire

FORMATS = os.path.join(SOURCE, "tests", "formats")
sys.path.insert(0, FORMATS)
import tree
from account import Account
from slices import LogError

SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = 1, 2, 4, 8, 16
NAMES = {SEEN: "\\Seen", ANSWERED: "\\Answered", FLAGGED: "\\Flagged", DELETED: "\\Deleted", DRAFT: "\\Draft"}
REPLACE, ADD, REMOVE = range(3)
SMITH, FAST, HASHED = "jsmith@company.com", "albert@fast.example", "müller@hash.example"
FLIP_STEP = 11  # every so many bytes one is flipped; no multiple of it is the length of a header


def mail(subject, lines=1):
    text = f"From: sender@example.org\r\nSubject: {subject}\r\n\r\n"
    return (text + "".join(f"{subject}, line {line}\r\n" for line in range(lines))).encode()


def large_mail(subject):
    """Over 1 MiB, so that it does not fit into one record."""
    return mail(subject, 1200000 // (len(subject) + 11))


def reader(base, *arguments):
    return subprocess.run([sys.executable, "-B", os.path.join(FORMATS, "reader.py"), base, *arguments],
                          capture_output=True, timeout=120, check=False)


def ctl_bytes(stack, *arguments):
    program = [os.path.join(BIN, "canopyctl"), "--server", "unix:" + stack.facts["socket"]]
    return subprocess.run([*program, *arguments], capture_output=True, timeout=120, check=True).stdout


# ------------------------------------------------------------------------------------------------------- traffic
def make_accounts(stack):
    stack.ctl("domain", "create", "fast.example", "--account-foldering", "2-1", "--fast-index", "2")
    stack.ctl("domain", "create", "hash.example", "--account-foldering", "hash-1-1", "--fast-index", "1")
    stack.ctl("account", "create", FAST, "--no-password", "--set", 'RealName=Älbert "x"', "--set", "Quota=#5000")
    stack.ctl("account", "create", HASHED, "--no-password")
    stack.ctl("account", "alias", "set", "john@company.com", SMITH)
    stack.ctl("settings", "set", SMITH, 'Raw="\\x80 \\u00e9\\t"', "Deep=(a,{b=#-7;},(),#NULL#,{})",
              "Key=[AAECAw==]", "Since=#T01-02-2020_10:11:12", "Day=#T29-02-2024")
    stack.ctl("settings", "set", SMITH, "Deep=(a,{b=#-8;c=\"$\";},())")
    stack.ctl("info", "set", FAST, "LastLogin=#T03-04-2021", 'Seen="/* no comment */"')


def first_traffic(stack, account):
    """Mailboxes, flags, copies, moves, expunges, renames: each record that a client can cause."""
    deliver(stack, [account], mail("by LMTP").decode())
    deliver(stack, [account], large_mail("large by LMTP").decode())
    with Wire(stack.facts["socket"]) as wire:
        for name in ("Work", "Work/2026", "Entwürfe", "Short-lived"):
            stack.ctl("mailbox", "create", account, name)
        for i in range(12):
            wire.append(account, "INBOX", mail(f"appended {i}", i), i, ["$Forwarded", "NonJunk", "urgent"][:i % 4],
                        1600000000 + 86400 * i, 60 * i - 300)
        wire.append(account, "Work", large_mail("appended in parts"), FLAGGED)
        wire.append(account, "Short-lived", mail("goes with its mailbox"))
        wire.store_flags(account, "INBOX", [(3, 5), (8, 8)], ADD, FLAGGED, ["$Junk", "urgent"])
        wire.store_flags(account, "INBOX", [(4, 4)], REPLACE, SEEN | ANSWERED, ["Only"])
        wire.store_flags(account, "INBOX", [(8, 9)], REMOVE, FLAGGED, ["URGENT"])
        wire.copy(account, "INBOX", "Work", [(1, 4)])
        wire.copy(account, "Work", "Work/2026", [(1, 1), (3, 3)])
        wire.copy(account, "INBOX", "Entwürfe", [(5, 7)], move=True)
        wire.expunge(account, "INBOX", [(2, 2), (9, 10)])
        stack.ctl("mailbox", "rename", account, "Work", "Büro")
        stack.ctl("mailbox", "delete", account, "Short-lived")
        wire.subscribe(account, "Büro/2026")
        wire.subscribe(account, "not a mailbox")
        wire.subscribe(account, "Entwürfe", False)


def second_traffic(stack, account):
    """On top of the first: what refers to messages of older slices, and what replaces a mailbox."""
    with Wire(stack.facts["socket"]) as wire:
        wire.copy(account, "Büro", "INBOX", [(1, 3)])
        wire.store_flags(account, "Büro", [(1, 2)], ADD, DELETED | DRAFT, ["later"])
        wire.expunge(account, "Büro", [(1, 1)])
        stack.ctl("mailbox", "create", account, "Short-lived")
        for i in range(3):
            wire.append(account, "Short-lived", mail(f"second {i}"), DRAFT)
        stack.ctl("mailbox", "rename", account, "Short-lived", "Archive/Old")
    deliver(stack, [account], mail("by LMTP, after a restart").decode())


def import_with_flags(stack, account):
    """canopyctl's way from a Maildir: flags come from the names of the files."""
    source = os.path.join(stack.directory, "maildir")
    box = mailboxes.Maildir(source, create=True)
    for i, flags in enumerate(("", "S", "FRS", "DT")):
        message = mailboxes.MaildirMessage(mail(f"imported {i}"))
        message.set_flags(flags)
        message.set_subdir("cur")
        message.set_date(1500000000 + i)
        box.add(message)
    stack.ctl("mailbox", "import", account, source, "--mailbox", "Imported")


def small_traffic(stack, account, subject):
    with Wire(stack.facts["socket"]) as wire:
        for i in range(4):
            wire.append(account, "INBOX", mail(f"{subject} {i}", 3), 0, ["kept"][:i % 2])
        wire.store_flags(account, "INBOX", [(2, 3)], ADD, SEEN)


class ReaderSaysWhatTheDaemonSays(unittest.TestCase):
    """One stack for all: what it holds is compared after each step of its life."""

    def setUp(self):
        self.stack = Stack()
        self.stack.start()
        self.addCleanup(self.stack.__exit__)

    def ctl_json(self, *arguments):
        return json.loads(self.stack.ctl("--json", *arguments).stdout)

    def shown(self, account):
        done = reader(self.stack.facts["base"], "show", account, "--json")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return json.loads(done.stdout)

    # ----------------------------------------------------------------------------------------------- comparisons
    def compare(self, account):
        """Everything of an account, as both say it."""
        with self.subTest(account=account), Wire(self.stack.facts["socket"]) as wire:
            facts = self.shown(account)
            self.assertEqual(facts["damages"], [])
            self.compare_dictionaries(account, facts)
            self.compare_mailboxes(wire, account, facts)
            self.compare_contents(account, facts)
            checked = reader(self.stack.facts["base"], "check", account)
            self.assertEqual((checked.returncode, checked.stderr), (0, b""), checked.stdout)

    def compare_dictionaries(self, account, facts):
        for kind in ("settings", "info"):
            theirs, mine = self.ctl_json(kind, "get", account), facts[kind] or {}
            mine = dict(mine)
            self.assertEqual(int(mine.pop(".epoch", "0"), 16), theirs["epoch"])
            self.assertEqual(mine.pop(".version", 0), theirs["version"])
            self.assertEqual(".created" in mine, kind == "settings")  # the account has a mark, its info none
            mine.pop(".created", None)
            for _, _, epoch, version in mine.pop(".requests", []):
                self.assertLessEqual((int(epoch, 16), version), (theirs["epoch"], theirs["version"]))
            if "Password" in mine:  # never printed by canopyctl
                mine["Password"] = "***"
            self.assertEqual(mine, theirs["values"])

    def compare_mailboxes(self, wire, account, facts):
        theirs = [box for box in self.ctl_json("mailbox", "list", account) if box["uid_validity"] != 0]
        self.assertEqual({box["name"] for box in facts["mailboxes"]}, {box["name"] for box in theirs})
        self.assertEqual(facts["subscriptions"], wire.subscriptions(account))
        mine = {box["name"]: box for box in facts["mailboxes"]}
        for their in theirs:
            box = mine[their["name"]]
            self.assertEqual((box["id"], box["uidvalidity"], box["uidnext"], box["highest_modseq"]),
                             (their["id"], their["uid_validity"], their["uid_next"], their["highest_modseq"]))
            self.assertEqual(their["subscribed"], box["name"] in facts["subscriptions"])
            self.assertEqual([self.row(row) for row in box["messages"]],
                             [self.their_row(row) for row in wire.messages(account, box["name"])])
            for since in (1, box["highest_modseq"] // 2 or 1, box["highest_modseq"]):
                gone = {uid for modseq, first, last in box["expunged"] if modseq > since
                        for uid in range(first, last + 1)}
                self.assertEqual((gone, box["floor"] > since), wire.vanished(account, box["name"], since))
            self.assertEqual(their["bytes"], sum(row["size"] for row in box["messages"]))
            self.assertEqual(their["unseen"], sum("\\Seen" not in row["flags"] for row in box["messages"]))
        shown = self.ctl_json("account", "show", account)
        self.assertEqual((shown["bytes"], shown["mailboxes"]), (facts["bytes"], len(facts["mailboxes"])))

    @staticmethod
    def row(row):
        return {**row, "keywords": sorted(row["keywords"])}

    @staticmethod
    def their_row(row):
        flags = [name for bit, name in NAMES.items() if row["system"] & bit]
        return {"uid": row["uid"], "flags": flags, "keywords": sorted(row["keywords"]), "date": row["date"],
                "zone": row["zone"], "size": row["size"], "modseq": row["modseq"]}

    def compare_contents(self, account, facts):
        """The bytes of all messages, by canopyctl cat."""
        opened = Account(self.stack.facts["base"], account)
        for box in facts["mailboxes"]:
            uids = [str(row["uid"]) for row in box["messages"]]
            if uids:
                rows = opened.mailbox(box["name"]).messages
                mine = [opened.content(rows[int(uid)]) for uid in uids]
                self.assertEqual([len(each) for each in mine], [row["size"] for row in box["messages"]])
                theirs = ctl_bytes(self.stack, "mailbox", "cat", account, box["name"], *uids)
                self.assertEqual(b"".join(mine), theirs)

    def compare_places(self):
        lines = reader(self.stack.facts["base"], "list").stdout.decode().splitlines()
        listed = {line.split("\t")[0]: line.split("\t")[1:] for line in lines}
        self.assertEqual(set(listed), {SMITH, "albert@company.com", FAST, HASHED})
        for account, place in listed.items():
            their = self.ctl_json("locate", account)
            self.assertEqual(place, [f"slot {their['slot']}", their["account_directory"], their["settings_file"],
                                     their["info_file"]])

    def compare_all(self):
        for account in (SMITH, FAST, HASHED):
            self.compare(account)

    def restart(self, how):
        self.stack.stop(how)
        self.stack.start()

    # ------------------------------------------------------------------------------------------------- the tests
    def test_through_restarts_checkpoints_and_compactions(self):
        make_accounts(self.stack)
        self.compare_places()
        self.compare_all()  # no mail yet
        first_traffic(self.stack, SMITH)
        small_traffic(self.stack, FAST, "one")
        self.compare_all()
        self.close_accounts()
        self.assertEqual(self.checkpoints_that_count(SMITH), 1)
        second_traffic(self.stack, SMITH)
        self.compare_all()
        self.restart(signal.SIGKILL)
        self.compare(SMITH)
        import_with_flags(self.stack, SMITH)
        small_traffic(self.stack, FAST, "two")
        small_traffic(self.stack, HASHED, "two")
        self.assertGreater(len(self.slices(SMITH)), 1)
        self.compare_all()
        self.restart(signal.SIGTERM)
        small_traffic(self.stack, SMITH, "three")
        self.assertGreater(len({epoch for epoch, _ in self.slices(SMITH)}), 2)
        self.compare(SMITH)
        self.compact_and_go_on()
        self.compare_other_ways()

    def compact_and_go_on(self):
        before = self.shown(SMITH)
        with Wire(self.stack.facts["socket"]) as wire:
            wire.compact(SMITH)
        self.assertEqual({**self.shown(SMITH), "highest_modseq": 0}, {**before, "highest_modseq": 0})
        self.assertIn("data", {"data" if entry.kind else "append"
                               for entry in Account(self.stack.facts["base"], SMITH).manifest.entries})
        with Wire(self.stack.facts["socket"]) as wire:
            wire.copy(SMITH, "Entwürfe", "Büro", [(1, 2)])
            wire.store_flags(SMITH, "Imported", [(1, 4)], ADD, ANSWERED, ["fresh"])
            wire.expunge(SMITH, "INBOX", [(1, 1)])
        self.compare(SMITH)

    def compare_other_ways(self):
        """What POP3, an export and the reader's own `cat` give."""
        base, box = self.stack.facts["base"], self.shown(SMITH)["mailboxes"][0]
        opened = Account(base, SMITH)
        mine = [opened.content(row) for _, row in sorted(opened.mailbox("inbox").messages.items())]
        self.assertEqual([content for _, content in messages_over_pop3(self.stack)], mine)
        uid = box["messages"][-1]["uid"]
        self.assertEqual(reader(base, "cat", "john@company.com", "INBOX", str(uid)).stdout, mine[-1])
        target = os.path.join(self.stack.directory, "exported")
        self.stack.ctl("mailbox", "export", SMITH, target, "--mailbox", "Büro", "--format", "eml")
        exported = sorted(open_bytes(os.path.join(folder, file))
                          for folder, _, files in os.walk(target) for file in files if file.endswith(".eml"))
        rows = opened.mailbox("Büro").messages.values()
        self.assertEqual(exported, sorted(opened.content(row) for row in rows))

    def close_accounts(self):
        with Wire(self.stack.facts["socket"]) as wire:
            for account in (SMITH, FAST):
                wire.close_account(account)

    def checkpoints_that_count(self, account):
        done = reader(self.stack.facts["base"], "check", account)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout.count(b" bytes, counts\n")

    def slices(self, account):
        entries = Account(self.stack.facts["base"], account).manifest.entries
        return [(entry.epoch, entry.number) for entry in entries]


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


class ReaderNamesDamage(unittest.TestCase):
    """Copies of one small account, of several slices and a checkpoint, are damaged."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="canopy-it.")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.base = os.path.join(cls.directory, "base")
        with Stack() as stack:
            make_accounts(stack)
            small_traffic(stack, FAST, "one")
            stack.stop(signal.SIGKILL)
            stack.start()
            small_traffic(stack, FAST, "two")
            with Wire(stack.facts["socket"]) as wire:
                wire.compact(FAST)
                small_traffic(stack, FAST, "three")
                wire.close_account(FAST)
            stack.stop()
            stack.start()
            small_traffic(stack, FAST, "four")
            stack.stop()
            shutil.copytree(stack.facts["base"], cls.base)
        cls.mail = os.path.join(cls.base, tree.find(cls.base, FAST).directory)
        cls.sound = Account(cls.base, FAST)
        assert len(cls.sound.state.mailboxes[1].messages) == 16

    def damaged_by(self, file, change):
        """What a check says after a file's bytes were changed: (lines, damages) or the refusal."""
        path = os.path.join(self.mail, file)
        before = open_bytes(path)
        try:
            with open(path, "wb") as opened:
                opened.write(change(bytearray(before)))
            return Account(self.base, FAST).check()
        except LogError as error:
            return str(error)
        finally:
            with open(path, "wb") as opened:
                opened.write(before)

    def flip(self, file, offset):
        def change(data):
            data[offset] ^= 1 << offset % 8
            return data
        return self.damaged_by(file, change)

    def assert_named(self, file, offset, said):
        if isinstance(said, str):  # refused as a whole: the newest manifest
            self.assertIn(file, said)
            return
        self.assertTrue(any(damage.file == file and damage.offset <= offset < damage.offset + damage.length
                            for damage in said[1]), f"{file} at {offset}: {said}")

    def test_sound_before(self):
        self.assertEqual(self.sound.check()[1], [])

    def test_a_flipped_bit_in_a_closed_slice_is_named_with_file_and_offset(self):
        closed = [self.sound.files[entry.number] for entry in self.sound.manifest.entries[:-1]]
        self.assertGreater(len(closed), 1)
        for file in closed:
            for offset in range(0, len(file.data), FLIP_STEP):
                self.assert_named(file.name, offset, self.flip(file.name, offset))

    def test_in_the_open_slice_only_what_nobody_was_told_of_may_be_torn(self):
        number = self.sound.manifest.entries[-1].number
        file, reading = self.sound.files[number], self.sound.readings[number]
        self.assertLess(reading.acknowledged, len(file.data))
        for offset in range(0, reading.acknowledged, FLIP_STEP):
            self.assert_named(file.name, offset, self.flip(file.name, offset))
        for offset in range(reading.acknowledged, len(file.data), FLIP_STEP):
            lines, damages = self.flip(file.name, offset)
            self.assertEqual(damages, [])
            self.assertIn("behind them do not count", "\n".join(lines))

    def test_a_flipped_bit_in_a_checkpoint_is_named_and_costs_nothing(self):
        names = [name for name in os.listdir(self.mail) if name.endswith(".checkpoint")]
        self.assertTrue(names)
        for name in names:
            for offset in range(0, os.path.getsize(os.path.join(self.mail, name)), FLIP_STEP):
                lines, damages = self.flip(name, offset)
                self.assertEqual([damage.file for damage in damages], [name])
                self.assertIn("mailbox INBOX: 16 of 16 messages sound", lines)

    def test_missing_bytes_are_named(self):
        file = self.sound.files[self.sound.manifest.entries[0].number]
        _, damages = self.damaged_by(file.name, lambda data: data[:-20])
        self.assertEqual(damages[0].offset + damages[0].length, len(file.data))
        _, damages = self.damaged_by(file.name, lambda data: data[:0])
        self.assertEqual([(each.file, each.offset, each.length) for each in damages[:2]],
                         [(file.name, 0, 64), (file.name, 64, len(file.data) - 64)])

    def test_a_torn_write_is_no_damage(self):
        file = self.sound.files[self.sound.manifest.entries[-1].number]
        lines, damages = self.damaged_by(file.name, lambda data: data + b"FRM1" + bytes(100))
        self.assertEqual(damages, [])
        self.assertIn("mailbox INBOX: 16 of 16 messages sound", lines)

    def test_the_program_says_it_too(self):
        file = self.sound.files[self.sound.manifest.entries[0].number]
        path = os.path.join(self.mail, file.name)
        before = open_bytes(path)
        at = len(before) - 30
        try:
            with open(path, "r+b") as opened:
                opened.seek(at)
                opened.write(bytes([before[at] ^ 1]))
            done = reader(self.base, "check", FAST)
        finally:
            with open(path, "wb") as opened:
                opened.write(before)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout.decode(), rf"DAMAGED {file.name} offset \d+ length \d+")


class ReaderKnowsThePaths(unittest.TestCase):
    def test_every_row_of_the_table_with_prepared_names(self):
        rows = 0
        with open(os.path.join(SOURCE, "tests/conformance/paths.tsv"), encoding="utf-8") as table:
            for line in table:
                if line.startswith("#"):
                    continue
                fields = line.rstrip("\n").split("\t")
                domain, name, domain_foldering, foldering, index, directory, settings = fields
                if directory == "-" or name != name.lower():
                    continue
                above = "/".join(["SharedDomains", *tree.folders(domain_foldering, domain), domain])
                found = tree.account_directory(above, name, foldering)
                self.assertEqual(found, directory, line)
                self.assertEqual(tree.place_of(f"{name}@{domain}", found, int(index)).settings, settings, line)
                rows += 1
        self.assertGreater(rows, 20)


if __name__ == "__main__":
    unittest.main()
