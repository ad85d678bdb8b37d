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


def subject_of(content):
    return next(line for line in content.decode().splitlines() if line.startswith("Subject: "))


class Deliveries(threading.Thread):
    """Delivers over LMTP until stop(); `made` are the subjects of what was acknowledged, by account."""

    def __init__(self, case, names):
        super().__init__(daemon=True)
        self.case, self.names = case, names
        self.made, self.errors, self.over = {name: [] for name in names}, [], threading.Event()

    def run(self):
        number = 0
        while not self.over.is_set():
            number += 1
            name = self.names[number % len(self.names)]
            try:
                self.case.deliver(name, relocation_test.message(f"live-{number}"))
                self.made[name].append(f"Subject: number live-{number}")
            except Exception as error:  # whatever a client sees counts
                self.errors.append(repr(error))
            time.sleep(0.05)

    def stop(self):
        self.over.set()
        self.join()


class Following(threading.Thread):
    """Goes over the accounts and notes the subject of each mail that it has not seen before, until it has seen `wanted`.

    `read(name, known)` answers the mails that are there as (key, a function that reads it if the key is not known yet).
    """

    def __init__(self, deliveries, read):
        super().__init__(daemon=True)
        self.deliveries, self.read = deliveries, read
        self.keys, self.seen = {name: set() for name in deliveries.names}, {name: [] for name in deliveries.names}
        self.errors, self.deadline, self.rounds = [], None, 0

    def run(self):
        while not self.is_over():
            for name in self.deliveries.names:
                try:
                    self.look(name)
                except Exception as error:  # whatever a client sees counts
                    self.errors.append(repr(error))
                    time.sleep(0.1)
            self.rounds += 1

    def look(self, name):
        before = list(self.deliveries.made[name])
        found = self.read(name, self.keys[name])
        gone = self.keys[name] - {key for key, _ in found}
        if gone:
            raise AssertionError(f"{name}: {gone} cannot be seen any more")
        for key, content in found:
            if key not in self.keys[name]:
                self.seen[name].append(subject_of(content()))
                self.keys[name].add(key)
        missing = set(before) - set(self.seen[name])
        if missing and self.at_once:
            raise AssertionError(f"{name}: {missing} were acknowledged and are not there")

    at_once = True  # it must see what was acknowledged before it looks

    def is_over(self):
        if self.deadline is None:
            return False
        return time.monotonic() > self.deadline or all(
            set(made) <= set(self.seen[name]) for name, made in self.deliveries.made.items())

    def finish(self):
        """Until it has seen everything, or time is up."""
        self.deadline = time.monotonic() + 120
        self.join()


class Watching(Following):
    """One account's events, one after the other on one connection; it lists what they tell of."""

    at_once = False  # it is told later

    def __init__(self, deliveries, name, socket_path):
        self.wire = Wire(socket_path)
        super().__init__(deliveries, self.listed)
        self.name, self.modseq, self.told = name, self.wire.account_modseq(name), 0

    def run(self):
        with self.wire:
            while not self.is_over():
                try:
                    answer = self.wire.call("Events.Watch", {1: {1: self.name}, 3: self.modseq, 4: 1})
                    now = answer.get(2, [self.modseq])[0]
                    self.told, self.modseq = self.told + (now > self.modseq), now
                    self.look(self.name)
                except Exception as error:  # whatever a client sees counts
                    self.errors.append(repr(error))
                    time.sleep(0.1)

    def listed(self, name, _):
        return [(row["uid"], lambda uid=row["uid"]: self.wire.fetch(name, "INBOX", uid))
                for row in self.wire.messages(name, "INBOX")]

    def is_over(self):
        if self.deadline is None:
            return False
        return time.monotonic() > self.deadline or set(self.deliveries.made[self.name]) <= set(self.seen[self.name])


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

    def over_pop3(self, name, known):
        """What is new is read within the session."""
        session = self.pop3(name)
        try:
            keys = [line.split()[1] for line in session.uidl()[1]]
            new = {key: b"\r\n".join(session.retr(number)[1]) for number, key in enumerate(keys, 1) if key not in known}
            return [(key, lambda key=key: new[key]) for key in keys]
        finally:
            session.quit()

    def in_mount(self, mounted, name):
        inbox = mounted.path("accounts", DOMAIN, name.split("@")[0], "INBOX")

        def content(entry):
            with open(os.path.join(inbox, entry), "rb") as file:
                return file.read()
        return [(entry, lambda entry=entry: content(entry)) for entry in os.listdir(inbox) if entry.endswith(".eml")]

    def raw_file(self, mounted, name):
        """A slice of the account by its path in the tree, open."""
        directory = self.ctl("locate", name)["account_directory"]
        self.shows(mounted, directory, True)
        entry = next(entry for entry in sorted(os.listdir(mounted.path(directory))) if entry.endswith(".slice"))
        return open(mounted.path(directory, entry), "rb", buffering=0)

    def test_every_mail_that_comes_while_accounts_go_back_and_forth_is_seen_once_by_everybody(self):
        names = self.names[:4]
        with Mounted(self.stack) as mounted, self.raw_file(mounted, names[0]) as opened:
            held = opened.read()
            deliveries = Deliveries(self, names)
            everybody = [Following(deliveries, self.over_pop3), Following(deliveries, lambda name, _: self.in_mount(mounted, name))]
            everybody[1].at_once = False  # a listing may be as old as the mount's time to live
            everybody += [Watching(deliveries, name, self.stack.facts["socket"]) for name in names]
            for each in (deliveries, *everybody):
                each.start()
            self.assertGreater(len(held), 0)
            for stores, foldering in (("one", "2-1"), ("root", "hash-1"), ("one", "flat"), ("root", "hash-1")):
                self.table(rows_over([stores]) if foldering == "hash-1" else f"/ root\nSharedDomains/{DOMAIN} {stores}\n")
                self.ctl("domain", "set", DOMAIN, f"foldering={foldering}")
                self.settled()
                relocation_test.Relocation.settled(self, DOMAIN)
                # As a file that was renamed: it is the one that was opened.
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                self.assertEqual(os.pread(opened.fileno(), len(held), 0), held)
                found = self.found()
                self.assertEqual({store for store, _ in found.values()}, {stores})
            deliveries.stop()
            for each in everybody:
                each.finish()
            self.assertEqual([error for each in (deliveries, *everybody) for error in each.errors][:5], [])
            self.assertGreater(min(len(made) for made in deliveries.made.values()), 0)
            first = "Subject: number 7"
            for name in names:
                wanted = sorted([first, *deliveries.made[name]])
                for each in everybody:
                    if not isinstance(each, Watching) or each.name == name:
                        self.assertEqual(sorted(each.seen[name]), wanted, f"{type(each).__name__} {name}")
                watching = next(each for each in everybody if isinstance(each, Watching) and each.name == name)
                self.assertGreater(watching.told, 0)
        self.assertEqual(self.ctl("check", DOMAIN)["damages"], [])
        self.check_nothing_left()

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
