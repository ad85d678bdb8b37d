"""Accounts that move to another store and another layout, as readers of the mount, an open POP3 session and watches see it."""
import os
import random
import threading
import time
import unittest

import relocation_test
import store_moves_test
from mounted import Mounted
from store_moves_test import DOMAIN, rows_over
from wire import Wire

ACCOUNTS = 12


class Readers(threading.Thread):
    """Lists the domain and reads mail and settings in the mount until stop(); what went wrong."""

    def __init__(self, mounted, names, mail):
        super().__init__(daemon=True)
        self.mounted, self.names, self.mail = mounted, [name.split("@")[0] for name in names], mail
        self.errors, self.over, self.done = [], threading.Event(), 0

    def run(self):
        rng = random.Random(1)
        while not self.over.is_set():
            try:
                self.read(rng.choice(self.names))
                self.done += 1
            except Exception as error:  # whatever a reader sees counts
                self.errors.append(repr(error))

    def read(self, name):
        listed = os.listdir(self.mounted.path("accounts", DOMAIN))
        missing = set(self.names) - set(listed)
        if missing:
            raise AssertionError(f"not listed: {missing}")
        account = self.mounted.path("accounts", DOMAIN, name)
        with open(os.path.join(account, "settings"), encoding="utf-8") as file:
            if "c" + name not in file.read():
                raise AssertionError(f"other settings under {name}")
        inbox = os.path.join(account, "INBOX")
        for entry in [entry for entry in os.listdir(inbox) if entry.endswith(".eml")]:
            with open(os.path.join(inbox, entry), "rb") as file:
                if not file.read().endswith(self.mail.encode()):
                    raise AssertionError(f"{name}/{entry} reads otherwise")

    def stop(self):
        self.over.set()
        self.join()


class Watcher(threading.Thread):
    """One wait for a change of an account."""

    def __init__(self, socket_path, account):
        super().__init__(daemon=True)
        self.wire, self.account = Wire(socket_path), account
        self.seen = self.wire.account_modseq(account)
        self.answer, self.error = None, None

    def run(self):
        try:
            with self.wire:
                self.answer = self.wire.call("Events.Watch", {1: {1: self.account}, 3: self.seen, 4: 50})
        except Exception as error:  # told by the test
            self.error = error


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class Seen(store_moves_test.Several):
    def setUp(self):
        super().setUp()
        self.names = self.accounts(ACCOUNTS)
        self.add("one")
        self.mail = relocation_test.message(7)
        for name in self.names:
            self.deliver(name, self.mail)

    def shows(self, mounted, path, there):
        deadline = time.monotonic() + 60
        while os.path.exists(mounted.path(path)) != there:
            self.assertLess(time.monotonic(), deadline, f"{path} {'does not show' if there else 'still shows'} in the mount")
            time.sleep(0.01)

    def test_under_their_names_nothing_changes_and_raw_paths_as_by_a_rename(self):
        who = self.names[0]
        with Mounted(self.stack) as mounted:
            before = self.ctl("locate", who)["account_directory"]
            self.shows(mounted, before, True)
            readers = Readers(mounted, self.names, self.mail)
            readers.start()
            session = self.pop3(who)
            watchers = [Watcher(self.stack.facts["socket"], name) for name in self.names[:3]]
            for watcher in watchers:
                watcher.start()
            self.assertEqual(session.stat()[0], 1)

            self.table(rows_over(["one"]))
            self.settled()
            self.assertEqual({store for store, _ in self.found().values()}, {"one"})
            self.assertTrue(b"\r\n".join(session.retr(1)[1]).endswith(self.mail.strip().encode()))
            self.ctl("domain", "set", DOMAIN, "Foldering=2-1")
            relocation_test.Relocation.settled(self, DOMAIN)
            self.assertEqual(len(session.list()[1]), 1)
            session.quit()

            after = self.ctl("locate", who)["account_directory"]
            self.assertNotEqual(after, before)
            self.shows(mounted, after, True)
            self.shows(mounted, before, False)
            for watcher in watchers:
                self.assertIsNone(watcher.error)
                self.deliver(watcher.account, relocation_test.message(7))
                watcher.join(60)
                self.assertIsNone(watcher.error)
                self.assertIsNotNone(watcher.answer, f"nobody told of new mail for {watcher.account}")
            readers.stop()
            self.assertEqual(readers.errors[:3], [])
            self.assertGreater(readers.done, 0)

    def test_the_layout_changes_while_the_table_moves_accounts_and_the_last_word_of_both_counts(self):
        clients = self.clients(self.names, 2)
        for client in clients:
            client.start()
        self.ctl("relocation", "set", "/", "--rate", "10")
        self.table(rows_over(["one"]))
        self.ctl("domain", "set", DOMAIN, "Foldering=2-1")
        self.ctl("relocation", "set", DOMAIN, "--rate", "10")
        self.table(rows_over(["root"]))
        self.ctl("domain", "set", DOMAIN, "Foldering=hash-1")
        self.table(rows_over(["root", "one"]))
        self.ctl("relocation", "set", "/", "--rate", "0")
        self.settled()
        relocation_test.Relocation.settled(self, DOMAIN)
        for client in clients:
            client.stop()
        self.assertEqual([error for client in clients for error in client.errors], [])
        found = self.found()
        self.assertEqual({name: store for name, (store, _) in found.items()},
                         {name: self.ctl("locate", name)["store"] for name in self.names})
        self.assertEqual({store for store, _ in found.values()}, {"root", "one"})
        for name in self.names:
            place = self.text("path", DOMAIN, name.split("@")[0], "--account-foldering", "hash-1").split()[0]
            self.assertTrue(os.path.isdir(os.path.join(self.stores[found[name][0]], place)), place)
        for client in clients:
            for name, count in client.counted.items():
                self.assertEqual(self.ctl("info", "get", name)["values"].get("Count", 0), count, name)
        self.assertEqual(self.ctl("check", DOMAIN)["damages"], [])
        self.check_nothing_left()


if __name__ == "__main__":
    unittest.main()
