"""Damaged settings of domains and of the cluster, and damaged accounts, as an administrator meets and mends them."""
import glob
import json
import os
import smtplib
import unittest

from ctl_case import FAILED, NOT_FOUND, CtlCase
from files import read, write
from stack import Stack
from thin_line_test import deliver, messages_over_pop3

GARBAGE = b"{ Foldering = "


class Damage(CtlCase):
    @classmethod
    def setUpClass(cls):
        pass  # each test damages a system of its own

    def setUp(self):
        self.stack = Stack()
        self.stack.start()
        self.addCleanup(self.stack.__exit__)

    def damaged_at_start(self, *path, content=GARBAGE):
        """The file's sound content; the system runs again with the damaged file."""
        self.stack.stop()
        file = self.base(*path)
        sound = read(file) if os.path.exists(file) else None
        write(file, content)
        self.stack.start()
        return sound

    def problems(self):
        return self.ctl("status")["problems"]

    def test_a_domain_with_damaged_settings_fails_alone(self):
        self.ctl("domain", "create", "bad.example", "--account-foldering", "1", "--fast-index", "1")
        self.ctl("account", "create", "anna@bad.example", "--no-password")
        path = ("SharedDomains", "bad.example", "domain.settings")
        sound = self.damaged_at_start(*path)
        file = "/".join(path)

        self.ctl("account", "show", "jsmith@company.com")
        self.assertEqual(deliver(self.stack, ["jsmith@company.com"]), {})
        for command in (("account", "show", "anna@bad.example"), ("account", "list", "bad.example"),
                        ("account", "create", "new@bad.example", "--no-password"),
                        ("domain", "create", "bad.example"), ("domain", "delete", "bad.example"),
                        ("domain", "rename", "bad.example", "other.example"),
                        ("domain", "set", "bad.example", "Note=x")):
            error = self.refused(FAILED, *command)
            self.assertEqual((error["name"], error["object"].split(":")[0]), ("damaged", file), command)
        with self.assertRaises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as refused:
            deliver(self.stack, ["anna@bad.example"])
        code = next(iter(refused.exception.recipients.values()))[0]
        self.assertTrue(400 <= code < 500, code)  # the sender tries again: no mail bounces
        self.assertTrue(any("bad.example" in problem and file in problem for problem in self.problems()))
        for scope in ((), ("bad.example",), ("anna@bad.example",)):
            done = self.stack.ctl("check", *scope, check=False)
            self.assertEqual(done.returncode, FAILED, done.stderr)
            self.assertIn(file, done.stdout)
        self.ctl("check", "company.com")

        # By hand, without a restart.
        write(self.base(*path), sound)
        self.ctl("check", "bad.example")
        self.assertEqual(self.problems(), [])
        self.ctl("account", "show", "anna@bad.example")

        # Or by a command: with settings that find the accounts that are there.
        self.damaged_at_start(*path)
        for wrong in (("Foldering=flat", "FastIndex=#1"), ("Foldering=1", "FastIndex=#0")):
            error = self.refused(FAILED, "settings", "set", "bad.example", "--replace", *wrong)
            self.assertIn("anna@bad.example", error["message"])
        self.ctl("settings", "set", "bad.example", "--replace", "Foldering=1", "FastIndex=#1")
        self.ctl("account", "show", "anna@bad.example")
        self.assertEqual(self.problems(), [])
        kept, = glob.glob(self.base("SharedDomains", "bad.example", "damaged", "*"))
        self.assertEqual(read(kept), GARBAGE)
        self.ctl("check")

    def directory_of(self, account):
        return self.base(self.ctl("locate", account)["account_directory"])

    def damages(self, *scope):
        done = self.stack.ctl("--json", "check", *scope, check=False)
        return done.returncode, [(damage.get("account", ""), os.path.basename(damage["file"]), damage["what"])
                                 for damage in json.loads(done.stdout)["damages"]]

    def test_what_is_no_file_keeps_nothing_else_from_being_checked(self):
        first, second = (self.stack.account(i)[0] for i in (0, 1))
        for _ in range(2):  # the last record of a slice may also be one that was never finished
            self.assertEqual(deliver(self.stack, [first, second]), {})
        directories = {name: self.directory_of(name) for name in (first, second)}
        self.stack.stop()
        name = "0000000000000009-0000000300000009.slice"
        os.mkfifo(os.path.join(directories[first], name))
        slice_of_second, = glob.glob(os.path.join(directories[second], "*.slice"))
        sound = read(slice_of_second)
        at = sound.index(b"Subject")
        write(slice_of_second, sound[:at] + b"s" + sound[at + 1:])
        self.stack.start()
        status, damages = self.damages()
        self.assertEqual(status, FAILED)
        self.assertIn((first, name, "it has the name of a slice and is no file"), damages)
        self.assertTrue(any(account == second for account, _, _ in damages), damages)
        self.assertEqual(len(messages_over_pop3(self.stack, 0)), 2)

    def test_a_slice_that_was_taken_away_from_a_running_daemon_is_named(self):
        account = self.stack.account(0)[0]
        self.assertEqual(deliver(self.stack, [account]), {})
        file, = glob.glob(os.path.join(self.directory_of(account), "*.slice"))
        self.assertEqual(self.damages(account), (0, []))
        os.rename(file, file + ".away")
        self.assertEqual(self.damages(account),
                         (FAILED, [(account, os.path.basename(file), "the file is in use and has been removed")]))
        write(file, read(file + ".away"))
        status, damages = self.damages(account)
        self.assertEqual((status, [what for _, _, what in damages]),
                         (FAILED, ["the file is in use and another one has been put in its place"]))
        os.rename(file + ".away", file)
        self.assertEqual(self.damages(account), (0, []))

    def test_settings_of_a_domain_that_break_a_rule_are_damage_too(self):
        self.ctl("domain", "create", "rule.example")
        sound = self.damaged_at_start("SharedDomains", "rule.example", "domain.settings", content=b"{FastIndex=two;}\n")
        error = self.refused(FAILED, "account", "show", "anna@rule.example")
        self.assertEqual(error["name"], "damaged")
        self.assertIn("FastIndex", error["message"])
        write(self.base("SharedDomains", "rule.example", "domain.settings"), sound)
        self.ctl("check")
        self.refused(NOT_FOUND, "account", "show", "anna@rule.example")

    def test_damaged_defaults_of_the_cluster_never_mean_weaker_limits(self):
        self.ctl("settings", "set", "cluster", "StorageLimit=#100000", "MessageLimit=#50")
        self.damaged_at_start("Settings", "Defaults.settings")
        problem, = self.problems()
        self.assertIn("Settings/Defaults.settings", problem)
        with self.assertRaises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as refused:
            deliver(self.stack, [self.stack.account(1)[0]])
        self.assertTrue(400 <= next(iter(refused.exception.recipients.values()))[0] < 500)
        messages_over_pop3(self.stack, 1)  # reading goes on
        self.assertEqual(self.refused(FAILED, "settings", "get", "cluster")["name"], "damaged")
        self.assertEqual(self.refused(FAILED, "settings", "set", "cluster", "MessageLimit=#9")["name"], "damaged")
        self.assertIn("Settings/Defaults.settings", self.stack.ctl("check", check=False).stdout)

        # Who states both limits needs no defaults.
        self.ctl("account", "set", self.stack.account(1)[0], "StorageLimit=#0", "MessageLimit=#0")
        self.assertEqual(deliver(self.stack, [self.stack.account(1)[0]]), {})

        self.ctl("settings", "set", "cluster", "--replace", "MessageLimit=#60")
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.ctl("account", "show", self.stack.account(0)[0])["quota_messages"], 60)
        self.assertEqual(len(glob.glob(self.base("Settings", "damaged", "Defaults.settings.*"))), 1)

    def test_domains_are_not_served_from_where_another_foldering_would_not_put_them(self):
        self.ctl("domain", "create", "stay.example")
        tree = self.base("Settings", "Tree.settings")
        self.damaged_at_start("Settings", "Tree.settings", content=b"{DomainFoldering=2;}\n")
        for command in (("account", "show", self.stack.account(0)[0]), ("account", "list", "stay.example"),
                        ("account", "create", "new@stay.example", "--no-password")):
            error = self.refused(FAILED, *command)
            self.assertEqual(error["name"], "unsupported")
            self.assertIn("DomainFoldering=2", error["message"])
            self.assertIn("canopyctl adopt", error["message"])
        self.stack.stop()
        os.remove(tree)
        self.stack.start()
        self.ctl("account", "list", "stay.example")
        self.assertEqual(self.problems(), [])

    def test_a_damaged_slice_is_repaired_around(self):
        self.ctl("account", "create", "slice@company.com", "--no-password")
        texts = [f"Subject: message {i}\r\n\r\nBODY{i}\r\n" for i in range(3)]
        for text in texts:
            self.assertEqual(deliver(self.stack, ["slice@company.com"], text), {})
        self.stack.stop()
        slice_file, = glob.glob(self.base("SharedDomains", "company.com", "slice.macnt", "*.slice"))
        content = read(slice_file)
        at = content.index(b"BODY1")
        write(slice_file, content[:at] + b"X" + content[at + 1:])
        self.stack.start()
        found = self.stack.ctl("check", "slice@company.com", check=False)
        self.assertEqual(found.returncode, FAILED, found.stdout)
        self.assertIn(os.path.basename(slice_file), found.stdout)
        self.assertNotIn("repaired\n", found.stdout.replace("not repaired", ""))
        mended = self.ctl("check", "slice@company.com", "--repair")
        self.assertEqual(mended["unrepaired"], 0)
        damage, = mended["damages"]
        self.assertTrue(damage["offset"] <= at < damage["offset"] + damage["length"], damage)
        self.assertEqual(self.ctl("check", "slice@company.com")["damages"], [])
        self.assertEqual(self.ctl("account", "show", "slice@company.com")["messages"], 2)
        kept = self.base("SharedDomains", "company.com", "slice.macnt", "damaged")
        self.assertIn(os.path.basename(slice_file), " ".join(os.listdir(kept)))
        out = os.path.join(self.stack.directory, "slice.mbox")
        self.ctl("mailbox", "export", "slice@company.com", out)
        self.assertEqual([read(out).count(f"BODY{i}".encode()) for i in range(3)], [1, 0, 1])

    def test_a_damaged_manifest_is_made_up(self):
        self.ctl("account", "create", "front@company.com", "--no-password")
        for round_ in range(2):  # a slice each
            for i in range(2):
                self.assertEqual(deliver(self.stack, ["front@company.com"], f"Subject: x\r\n\r\nBODY{round_}{i}\r\n"), {})
            self.stack.stop()
            self.stack.start()
        self.stack.stop()
        newest = sorted(glob.glob(self.base("SharedDomains", "company.com", "front.macnt", "*.slice")))[-1]
        content = read(newest)
        write(newest, content[:100] + bytes([content[100] ^ 1]) + content[101:])
        self.stack.start()
        self.assertEqual(self.refused(FAILED, "account", "show", "front@company.com")["name"], "damaged")
        self.assertEqual(self.stack.ctl("check", "front@company.com", check=False).returncode, FAILED)
        self.assertEqual(self.ctl("check", "front@company.com", "--repair")["unrepaired"], 0)
        self.assertEqual(self.ctl("account", "show", "front@company.com")["messages"], 4)
        self.assertEqual(self.ctl("check", "front@company.com")["damages"], [])

    def test_a_damaged_settings_file_of_an_account_is_begun_anew_with_the_account_disabled(self):
        self.ctl("account", "create", "torn@company.com", "--no-password")
        self.damaged_at_start("SharedDomains", "company.com", "torn.macnt", "account.settings")
        self.assertEqual(self.refused(FAILED, "account", "show", "torn@company.com")["name"], "damaged")
        self.assertEqual(self.ctl("check", "torn@company.com", "--repair")["unrepaired"], 0)
        self.assertEqual(self.ctl("account", "show", "torn@company.com")["state"], "disabled")
        kept, = glob.glob(self.base("SharedDomains", "company.com", "torn.macnt", "damaged", "account.settings.*"))
        self.assertEqual(read(kept), GARBAGE)
        self.assertEqual(self.ctl("check", "torn@company.com")["damages"], [])

    def test_settings_of_an_account_that_break_a_rule_lose_these_keys(self):
        self.ctl("account", "create", "rule@company.com", "--no-password")
        path = ("SharedDomains", "company.com", "rule.macnt", "account.settings")
        self.damaged_at_start(*path, content=b"{State=asleep;StorageLimit=much;MessageLimit=#7;Note=kept;}\n")
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
            deliver(self.stack, ["rule@company.com"])
        self.assertTrue(400 <= refused.exception.recipients["rule@company.com"][0] < 500)
        found = self.stack.ctl("check", "rule@company.com", check=False)
        self.assertIn("State", found.stdout)
        mended = self.ctl("check", "rule@company.com", "--repair")
        self.assertEqual(mended["unrepaired"], 0)
        told = " ".join(damage["what"] for damage in mended["damages"])
        self.assertIn("StorageLimit: a limit is a number", told)
        shown = self.ctl("account", "show", "rule@company.com")
        self.assertEqual((shown["state"], shown["quota_messages"], shown["quota_bytes"]), ("disabled", 7, 0))
        self.assertEqual(self.ctl("settings", "get", "rule@company.com", "--key", "Note"), "kept")
        kept, = glob.glob(self.base(*path[:-1], "damaged", "account.settings.*"))
        self.assertIn(b"asleep", read(kept))


if __name__ == "__main__":
    unittest.main()
