"""Accounts that get another name, or go to another store one by one, while people use them and canopyd is killed."""
import os
import poplib
import random
import signal
import smtplib
import threading
import time
import unittest

import relocation_test
import store_moves_test
from ctl_case import NOT_FOUND
from mail_case import MailCase
from store_moves_test import DOMAIN

ACCOUNTS = int(os.environ.get("CANOPY_KILLED_ACCOUNTS", "24"))
NO_SUCH_USER = 550  # of LMTP


class Correspondent(relocation_test.Clients):
    """One who delivers and reads, knows both names of each account, and is patient."""

    def __init__(self, case, names, new_name, seed):
        super().__init__(case, names, seed, patient=True)
        self.new_name, self.bounced = new_name, []

    def deliver(self, name):
        self.number += 1
        text = relocation_test.message(f"{self.seed}-{self.number}")
        for address in (name, self.new_name(name), name, self.new_name(name)):  # it may be renamed between two looks
            try:
                self.case.deliver(address, text)
            except smtplib.SMTPRecipientsRefused as refused:
                if refused.recipients[address][0] != NO_SUCH_USER:
                    raise
                continue
            self.delivered[name].append(text)
            return
        self.bounced.append(name)

    def read(self, name):
        before = len(self.delivered[name])
        try:
            client = self.case.pop3(name)
        except poplib.error_proto:
            client = self.case.pop3(self.new_name(name))
        try:
            count = client.stat()[0]
            if count < before:
                self.errors.append(f"{name}: {count} messages, {before} were acknowledged")
            if count:
                client.retr(self.random.randint(1, count))
        finally:
            client.quit()

    def count(self, name):
        self.deliver(name)


class Killer(threading.Thread):
    """Kills canopyd once, after a while, and starts it again."""

    def __init__(self, stack, after):
        super().__init__(daemon=True)
        self.stack, self.after = stack, after

    def run(self):
        time.sleep(self.after)
        self.stack.stop(signal.SIGKILL)
        self.stack.start()


class Renaming:
    """What cases do with accounts that get other names."""

    def renamed(self, name, to):
        """As somebody does it who gives the command again when the daemon is away."""
        deadline = time.monotonic() + 120
        while self.stack.ctl("account", "rename", name, to, check=False).returncode != 0:
            if self.stack.ctl("account", "show", to, check=False).returncode == 0:
                break
            self.assertLess(time.monotonic(), deadline, name)
            time.sleep(0.1)

    def rename_all(self, names, new_name, kills):
        """Under clients, who are answered; `kills`: the account at which canopyd is killed, and after how many seconds."""
        clients = [Correspondent(self, names[i::2], new_name, i) for i in range(2)]
        for client in clients:
            self.addCleanup(client.stop)
            client.start()
        for number, name in enumerate(names):
            killer = Killer(self.stack, kills[number]) if number in kills else None
            if killer:
                killer.start()
            self.renamed(name, new_name(name))
            if killer:
                killer.join()
        for client in clients:
            client.stop()
        self.assertEqual([error for client in clients for error in client.errors], [])
        self.assertEqual([name for client in clients for name in client.bounced], [])
        return clients

    def check_renamed(self, clients, new_name):
        for client in clients:
            for name in client.accounts:
                self.refused(NOT_FOUND, "account", "show", name)
                self.assertEqual(self.ctl("settings", "get", new_name(name))["values"]["Colour"], "c" + name.split("@")[0])
                got = [text.decode() for text in self.contents(new_name(name))]
                for text in client.delivered[name]:
                    self.assertEqual(sum(one.endswith(text) for one in got), 1, name)


class Renames(Renaming, MailCase):
    domain, accounts_of, found_at = (getattr(relocation_test.Relocation, each) for each in ("domain", "accounts_of", "found_at"))

    def test_accounts_get_names_in_another_domain_while_clients_go_on_and_canopyd_is_killed(self):
        source, target = self.domain("leaving.example", "foldering=1"), self.domain("joined.example", "foldering=2-1", "fast-index=2")
        names = self.accounts_of(source, ACCOUNTS)

        def new_name(name):
            return name.split("@")[0] + "x@" + target
        clients = self.rename_all(names, new_name, {ACCOUNTS // 2: random.Random(ACCOUNTS).uniform(0, 0.1)})
        self.assertGreater(min(client.done for client in clients), 0)
        self.assertEqual(self.found_at(source), {})
        self.assertEqual(sorted(self.found_at(target)), sorted(new_name(name).split("@")[0] for name in names))
        self.check_renamed(clients, new_name)
        self.assertEqual(self.ctl("check", target)["damages"], [])


class RenamesBeyond(Renaming, store_moves_test.Several):
    """To names whose places are on other stores."""
    def on_three_stores(self):
        names = self.accounts(ACCOUNTS)
        for store in ("one", "two", "three"):
            self.add(store)
        self.table(store_moves_test.rows_over(["one", "two", "three"]))
        self.settled()
        return names, self.found()

    def test_accounts_get_them_while_clients_go_on_and_canopyd_is_killed(self):
        names, before = self.on_three_stores()

        def new_name(name):
            return name.replace("@", "x@")
        clients = self.rename_all(names, new_name, {number: random.Random(number).uniform(0, 0.1) for number in range(3, ACCOUNTS, 7)})
        self.settled()
        after = self.found()
        self.assertEqual(sorted(after), sorted(new_name(name) for name in names))
        self.assertGreater(sum(before[name][0] != after[new_name(name)][0] for name in names), 0)
        self.assertEqual({new: self.ctl("locate", new)["store"] for new in after}, {new: store for new, (store, _) in after.items()})
        self.check_renamed(clients, new_name)
        self.assertEqual(self.ctl("check", DOMAIN)["damages"], [])
        self.check_nothing_left()

    def test_they_stay_where_they_lie_until_their_accounts_may_move(self):
        names, before = self.on_three_stores()
        hour = time.gmtime().tm_hour
        self.ctl("relocation", "set", "/", "--window", f"{(hour + 12) % 24:02}:00-{(hour + 13) % 24:02}:00")
        for name in names:
            self.ctl("account", "rename", name, name.replace("@", "x@"))
        lying = {name.replace("@", "x@"): store for name, (store, _) in before.items()}
        self.assertEqual({name: store for name, (store, _) in self.found().items()}, lying)
        self.assertEqual({name: self.ctl("locate", name)["store"] for name in lying}, lying)
        self.stack.stop(signal.SIGKILL)
        self.stack.start()
        self.assertEqual({name: self.ctl("locate", name)["store"] for name in lying}, lying)
        for name in lying:  # and back, which needs no other store
            self.ctl("account", "rename", name, name.replace("x@", "@"))
        self.ctl("relocation", "set", "/", "--window", "always")
        self.settled()
        self.assertEqual(self.found(), before)


class Moves(store_moves_test.Several):
    def test_accounts_are_told_to_move_while_clients_go_on_and_canopyd_is_killed(self):
        names = self.accounts(ACCOUNTS)
        self.add("one")
        clients = self.clients(names, 2, patient=True)
        for client in clients:
            client.start()
        moved = names[:6]
        for number, name in enumerate(moved):
            killer = Killer(self.stack, random.Random(number).uniform(0, 1.5)) if number == 3 else None
            if killer:
                killer.start()
            deadline = time.monotonic() + 120
            while self.stack.ctl("account", "move", name, "one", check=False).returncode != 0:
                self.assertLess(time.monotonic(), deadline, name)
                time.sleep(0.1)
            if killer:
                killer.join()
        self.settled()
        self.assertEqual({name for name, (store, _) in self.found().items() if store == "one"}, set(moved))
        for name in moved[:2]:
            self.ctl("account", "move", name, "--back")
        self.settled()
        self.assertEqual({name for name, (store, _) in self.found().items() if store == "one"}, set(moved[2:]))
        self.assertEqual(self.ctl("locate", moved[2])["store"], "one")
        self.check_after_kills(clients, names)
        self.assertEqual([name for name in names if self.ctl("settings", "get", name)["values"]["Colour"]
                          != "c" + name.split("@")[0]], [])
        self.assertEqual(len(self.ctl("account", "list", DOMAIN)), ACCOUNTS)


if __name__ == "__main__":
    unittest.main()
