"""A suspended account whose files are changed through the mount, and what it meets when it is resumed."""
import errno
import glob
import json
import os
import shutil
import signal
import smtplib
import tempfile
import unittest

from ctl_case import FAILED, NOT_FOUND, CtlCase
from files import read
from mounted import Mounted
from thin_line_test import deliver

TEXTS = [f"Subject: message {i}\r\n\r\nBODY{i}\r\n" for i in range(3)]


def write(path, content):
    """In place."""
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class Suspended(CtlCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mounted = Mounted(cls.stack)
        cls.addClassCleanup(cls.mounted.__exit__)

    def suspended(self, name):
        """An account with mail that has been suspended; the path of its directory in the mount."""
        self.ctl("account", "create", name + "@company.com", "--no-password", "--set", "Colour=green")
        for text in TEXTS:
            self.assertEqual(deliver(self.stack, [name + "@company.com"], text), {})
        self.ctl("account", "suspend", name + "@company.com")
        return self.mounted.path("SharedDomains", "company.com", name + ".macnt")

    def restart_killed(self):
        self.stack.stop(signal.SIGKILL)
        self.stack.start()

    def slice_of(self, directory):
        file, = glob.glob(os.path.join(directory, "*.slice"))
        return file

    def resumed(self, name, *options):
        return self.stack.ctl(*options, "account", "resume", name + "@company.com", check=False)

    def test_what_was_left_as_it_was_is_resumed_without_damages(self):
        directory = self.suspended("sound")
        mark = read(os.path.join(self.stack.facts["base"], ".canopy", "suspended", "company.com", "sound"))
        self.assertEqual(mark.split()[0].decode(), os.path.basename(self.slice_of(directory)))
        self.assertNotIn(b"LogEnd", read(os.path.join(directory, "account.settings")))
        content = read(self.slice_of(directory))
        write(self.slice_of(directory), content)  # as a restored backup
        resumed = self.ctl("account", "resume", "sound@company.com")
        self.assertEqual((resumed["state"], resumed["messages"], resumed["damages"]), ("active", 3, []))
        again = self.ctl("account", "resume", "sound@company.com")  # nobody but the daemon has changed it meanwhile
        self.assertNotIn("damages", again)

    def inbox(self, name):
        """(UIDVALIDITY, UIDNEXT)"""
        box, = self.ctl("mailbox", "list", name + "@company.com")
        return box["uid_validity"], box["uid_next"]

    def test_an_older_copy_that_is_put_back_is_found_out_and_gives_no_uid_twice(self):
        name = "older@company.com"
        directory = self.suspended("older")
        with tempfile.TemporaryDirectory() as copies:
            copy = shutil.copytree(directory, os.path.join(copies, "older.macnt"))
            self.assertFalse(self.ctl("account", "resume", name)["restored"])
            self.assertEqual(deliver(self.stack, [name], TEXTS[0]), {})
            validity, uid_next = self.inbox("older")
            self.assertEqual(uid_next, 5)
            self.ctl("account", "suspend", name)
            shutil.rmtree(directory)
            shutil.copytree(copy, directory)
        resumed = self.ctl("account", "resume", name)
        self.assertEqual((resumed["restored"], resumed["messages"], resumed["damages"]), (True, 3, []))
        self.assertGreater(self.inbox("older")[0], validity)
        self.assertEqual(self.inbox("older")[1], 4)
        self.assertEqual(self.ctl("check", name)["damages"], [])
        renewed = self.inbox("older")
        self.ctl("account", "suspend", name)
        self.assertFalse(self.ctl("account", "resume", name)["restored"])
        self.assertEqual(self.inbox("older"), renewed)

    def test_it_stays_suspended_when_the_daemon_is_killed_and_its_settings_say_nothing_of_it(self):
        name = "killed@company.com"
        directory = self.suspended("killed")
        settings = os.path.join(directory, "account.settings")
        self.ctl("account", "resume", name)
        with tempfile.TemporaryDirectory() as copies:
            copy = shutil.copytree(directory, os.path.join(copies, "killed.macnt"))
            self.assertNotIn(b"State", read(os.path.join(copy, "account.settings")))
            self.assertEqual(deliver(self.stack, [name], TEXTS[0]), {})
            validity, _ = self.inbox("killed")
            self.ctl("account", "suspend", name)
            shutil.rmtree(directory)
            self.restart_killed()
            self.refused(NOT_FOUND, "account", "show", name)  # it is gone, for now
            shutil.copytree(copy, directory)
            self.restart_killed()
        self.assertEqual(self.ctl("account", "show", name)["state"], "suspended")
        with self.assertRaises(smtplib.SMTPRecipientsRefused):
            deliver(self.stack, [name], TEXTS[0])
        write(settings, read(settings))  # the hands are not done
        self.restart_killed()
        resumed = self.ctl("account", "resume", name)
        self.assertEqual((resumed["state"], resumed["restored"], resumed["messages"]), ("active", True, 3))
        self.assertGreater(self.inbox("killed")[0], validity)
        self.restart_killed()
        self.assertEqual(self.ctl("account", "show", name)["state"], "active")

    def test_no_name_elsewhere_leads_to_a_file_of_an_account(self):
        directory = self.suspended("linked")
        slice_file = self.slice_of(directory)

        def outside(name):
            return self.mounted.path("SharedDomains", "linked-" + name)

        def refused(attempt, *paths):
            with self.assertRaises(OSError) as given:
                attempt(*paths)
            self.assertEqual(given.exception.errno, errno.EXDEV)

        refused(os.link, slice_file, outside("slice"))
        with open(outside("one"), "wb") as file:
            file.write(b"one")
        within = os.path.join(directory, "within")
        refused(os.link, outside("one"), within)
        os.link(outside("one"), outside("two"))
        refused(os.rename, outside("one"), within)
        os.unlink(outside("two"))
        os.rename(outside("one"), within)  # its only name
        os.link(within, within + "-2")     # both are the account's
        refused(os.rename, within, outside("one"))
        other = self.suspended("linked-other")
        refused(os.link, within, os.path.join(other, "within"))
        refused(os.rename, within, os.path.join(other, "within"))
        os.mkdir(outside("directory"))
        os.rename(outside("directory"), within + "-directory")  # nothing is in it
        os.rename(within, within + "-directory/within")
        refused(os.rename, within + "-directory", outside("directory"))
        shutil.move(within + "-directory", outside("directory"))  # as mv: it copies
        self.assertEqual(os.stat(outside("directory/within")).st_nlink, 1)
        os.unlink(within + "-2")
        shutil.rmtree(outside("directory"))
        self.assertEqual(self.ctl("account", "resume", "linked@company.com")["damages"], [])

    def test_a_file_that_was_opened_elsewhere_and_put_into_the_account_is_the_accounts_once_that_is_resumed(self):
        directory = self.suspended("moved")
        slice_file = self.slice_of(directory)
        outside = self.mounted.path("SharedDomains", "kept-open")
        shutil.copy(slice_file, outside)
        content = read(slice_file)
        with open(outside, "r+b", buffering=0) as held:
            os.rename(outside, slice_file)
            os.pwrite(held.fileno(), content, 0)  # it is still in this hand
            os.fsync(held.fileno())
            resumed = self.ctl("account", "resume", "moved@company.com")
            self.assertEqual((resumed["messages"], resumed["damages"]), (3, []))
            with self.assertRaises(OSError) as refused:
                os.pwrite(held.fileno(), b"not any more", 100)
                os.fsync(held.fileno())
            self.assertEqual(refused.exception.errno, errno.EBUSY)
            self.ctl("account", "suspend", "moved@company.com")
            os.pwrite(held.fileno(), read(slice_file), 0)  # it is again
            os.fsync(held.fileno())
            self.assertEqual(self.ctl("account", "resume", "moved@company.com")["damages"], [])
        self.assertEqual(self.ctl("check", "moved@company.com")["damages"], [])

    def test_an_account_whose_files_were_removed_is_gone_at_once(self):
        directory = self.suspended("removed")
        self.assertIn("removed", self.ctl("account", "list", "company.com"))
        shutil.rmtree(directory)
        self.assertNotIn("removed", self.ctl("account", "list", "company.com"))
        with self.assertRaises(smtplib.SMTPException) as refused:
            deliver(self.stack, ["removed@company.com"], TEXTS[0])
        self.assertIn("550", str(refused.exception))
        self.refused(NOT_FOUND, "account", "show", "removed@company.com")

    def test_renaming_and_deleting_take_what_is_known_of_it_along(self):
        directory = self.suspended("named")
        settings = os.path.join(directory, "account.settings")
        write(settings, read(settings).replace(b"State=suspended;", b""))
        self.ctl("account", "rename", "named@company.com", "newly@company.com")
        self.restart_killed()
        self.assertEqual(self.ctl("account", "show", "newly@company.com")["state"], "suspended")
        self.ctl("account", "create", "named@company.com", "--no-password")
        self.ctl("account", "delete", "newly@company.com")
        self.ctl("account", "create", "newly@company.com", "--no-password")
        self.restart_killed()
        for name in ("named@company.com", "newly@company.com"):
            self.assertEqual(self.ctl("account", "show", name)["state"], "active")
        # Removed by other hands, and made anew by the daemon.
        shutil.rmtree(self.suspended("raw"))
        self.restart_killed()
        self.ctl("account", "create", "raw@company.com", "--no-password")
        self.restart_killed()
        self.assertEqual(self.ctl("account", "show", "raw@company.com")["state"], "active")

    def test_a_domain_that_is_renamed_keeps_its_suspended_accounts_so(self):
        self.ctl("domain", "create", "old.example")
        self.ctl("account", "create", "held@old.example", "--no-password")
        self.ctl("account", "suspend", "held@old.example")
        settings = self.mounted.path("SharedDomains", "old.example", "held.macnt", "account.settings")
        write(settings, read(settings).replace(b"State=suspended;", b""))
        self.ctl("domain", "rename", "old.example", "new.example")
        self.restart_killed()
        self.assertEqual(self.ctl("account", "show", "held@new.example")["state"], "suspended")
        self.ctl("domain", "delete", "new.example", "--recursive")
        for domain in ("old.example", "new.example"):
            self.ctl("domain", "create", domain)
            self.ctl("account", "create", "held@" + domain, "--no-password")
            self.assertEqual(self.ctl("account", "show", "held@" + domain)["state"], "active")

    def test_a_copy_is_resumed_as_restored_when_that_is_said(self):
        name = "said@company.com"
        self.suspended("said")
        self.ctl("account", "resume", name)
        before = self.inbox("said")
        self.ctl("account", "suspend", name)
        resumed = self.ctl("account", "resume", "--restored", name)
        self.assertEqual((resumed["restored"], resumed["messages"]), (True, 3))
        self.assertGreater(self.inbox("said")[0], before[0])
        error = self.refused(FAILED, "account", "resume", "--restored", name)
        self.assertIn("only a suspended account", error["message"])

    def test_a_damaged_message_is_named_by_file_and_offset_and_the_rest_is_served(self):
        directory = self.suspended("torn")
        content = read(self.slice_of(directory))
        at = content.index(b"BODY1")
        write(self.slice_of(directory), content[:at] + b"X" + content[at + 1:])
        done = self.resumed("torn", "--json")
        self.assertEqual((done.returncode, done.stderr), (FAILED, ""))
        told = json.loads(done.stdout)
        damage, = told["damages"]
        self.assertEqual((told["state"], told["unrepaired"]), ("active", 1))
        self.assertEqual(damage["file"], os.path.relpath(self.slice_of(directory), self.mounted.directory))
        self.assertTrue(damage["offset"] <= at < damage["offset"] + damage["length"], damage)
        self.assertEqual(deliver(self.stack, ["torn@company.com"], TEXTS[0]), {})

        self.ctl("account", "suspend", "torn@company.com")
        done = self.resumed("torn")
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(f"{damage['file']}:{damage['offset']}: {damage['what']}", done.stdout)
        self.assertEqual(self.ctl("check", "torn@company.com", "--repair")["unrepaired"], 0)
        self.assertEqual(self.ctl("account", "show", "torn@company.com")["messages"], 3)

    def test_one_that_cannot_be_opened_is_in_the_hands_of_the_administrator(self):
        directory = self.suspended("front")
        content = read(self.slice_of(directory))
        write(self.slice_of(directory), content[:100] + bytes([content[100] ^ 1]) + content[101:])
        done = self.resumed("front", "--json")
        self.assertEqual((done.returncode, done.stderr), (FAILED, ""))
        told = json.loads(done.stdout)
        self.assertEqual((told["state"], told["messages"], told["unrepaired"]), ("active", None, 1))
        self.assertIn("front.macnt", told["damages"][0]["file"])
        self.ctl("account", "suspend", "front@company.com")  # so that the files can be put back
        write(self.slice_of(directory), content)
        self.assertEqual(self.ctl("account", "resume", "front@company.com")["messages"], 3)

    def test_settings_and_info_count_as_they_were_left(self):
        directory = self.suspended("words")
        self.ctl("info", "set", "words@company.com", "Shoe=#42")
        settings = os.path.join(directory, "account.settings")
        info, = glob.glob(os.path.join(directory, "*.info"))
        left, told = read(settings), read(info)
        write(settings, left.replace(b"green", b"blue").replace(b"State=suspended;", b""))
        write(info, told.replace(b"#42", b"#43"))
        self.ctl("check", "words@company.com")  # looks at the files, and resumes nothing
        self.assertEqual(self.ctl("account", "show", "words@company.com")["state"], "suspended")
        self.ctl("account", "resume", "words@company.com")
        self.assertEqual(self.ctl("settings", "get", "words@company.com", "--key", "Colour"), "blue")
        self.assertEqual(self.ctl("info", "get", "words@company.com", "--key", "Shoe"), 43)

        self.ctl("account", "suspend", "words@company.com")
        left = read(settings)
        write(settings, b"{ Colour = ")
        write(info, b"{ Shoe = ")
        done = self.stack.ctl("check", "words@company.com", check=False)
        self.assertEqual(done.returncode, FAILED, done.stdout)
        self.assertIn("account.settings", done.stdout)
        error = self.refused(FAILED, "account", "resume", "words@company.com")
        self.assertEqual((error["name"], error["object"].split(":")[0]),
                         ("damaged", "SharedDomains/company.com/words.macnt/account.settings"))
        write(settings, left)  # it is still suspended: the hands that broke it can mend it
        done = self.resumed("words", "--json")
        self.assertEqual(done.returncode, FAILED, done.stderr)
        damage, = json.loads(done.stdout)["damages"]
        self.assertEqual(damage["file"], os.path.relpath(info, self.mounted.directory))

    def test_damaged_settings_can_be_mended_while_it_is_suspended_and_the_log_says_how_otherwise(self):
        name = "mended@company.com"
        settings = os.path.join(self.suspended("mended"), "account.settings")
        left = read(settings)
        write(settings, b"{ Colour = ")
        self.restart_killed()
        self.assertEqual(self.refused(FAILED, "account", "resume", name)["name"], "damaged")
        write(settings, left)
        self.assertEqual(self.ctl("account", "resume", name)["state"], "active")
        with open(self.base("SharedDomains", "company.com", "mended.macnt", "account.settings"), "r+b") as file:
            file.truncate(5)
        self.restart_killed()
        with self.assertRaises(OSError) as refused:
            os.unlink(settings)
        self.assertEqual(refused.exception.errno, errno.EIO)
        self.assertIn(f"canopyctl check {name} --repair", self.mounted.logged())
        self.ctl("check", name, "--repair")
        self.assertEqual(self.ctl("account", "show", name)["state"], "disabled")

    def test_taking_mail_again_without_logins_is_resuming_too(self):
        directory = self.suspended("half")
        content = read(self.slice_of(directory))
        at = content.index(b"BODY1")
        write(self.slice_of(directory), content[:at] + b"X" + content[at + 1:])
        done = self.stack.ctl("account", "suspend", "half@company.com", "--disable", check=False)
        self.assertEqual(done.returncode, FAILED, done.stdout)
        self.assertIn(".slice:", done.stdout)


if __name__ == "__main__":
    unittest.main()
