"""Registrars rewrite infos while canopyd is killed again and again: every update that was answered is there afterwards, and the
journal that they went through is replayed. CANOPY_INFO_KILLS=50: at length."""
import os
import random
import signal
import threading
import time
import unittest

from mail_case import MailCase
from wire import Refused, Wire
import relocation_test
from fast_index_test import INFO, count_in

KILLS = int(os.environ.get("CANOPY_INFO_KILLS", "4"))
DOMAIN = "sip.example"
REGISTRARS, ACCOUNTS = 8, 5  # accounts of each


class Registrar(threading.Thread):
    """Counts up in the infos of accounts of its own. `answered` and `asked` differ while nobody knows."""

    def __init__(self, case, names):
        super().__init__(daemon=True)
        self.case, self.names, self.over = case, names, threading.Event()
        self.answered, self.asked = {name: 0 for name in names}, {name: 0 for name in names}
        self.wrong, self.updates = [], 0

    def run(self):
        while not self.over.is_set():
            try:
                with Wire(self.case.stack.facts["socket"]) as wire:
                    self.look(wire)
                    while not self.over.is_set():
                        self.write(wire, random.choice(self.names))
            except (OSError, Refused, EOFError, IndexError, TypeError):
                time.sleep(0.02)

    def write(self, wire, name):
        self.asked[name] = self.answered[name] + 1
        wire.call("Info.Set", {1: {1: name}, 2: INFO, 3: f"{{Count=#{self.asked[name]};}}", 6: os.urandom(16)})
        self.answered[name] = self.asked[name]
        self.updates += 1

    def look(self, wire):
        for name in self.names:
            count = count_in(wire.call("Info.Get", {1: {1: name}, 2: INFO})[1][0].decode())
            if count not in (self.answered[name], self.asked[name]):
                self.wrong.append(f"{name}: {count}, answered was {self.answered[name]}")
            self.answered[name] = self.asked[name] = count


class InfoKills(MailCase):
    def killed(self):
        before = self.service_pid("canopyd")
        os.kill(before, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.stack.ctl("status", check=False).returncode == 0:
                self.assertNotEqual(self.service_pid("canopyd"), before)
                return
            time.sleep(0.05)
        self.fail("canopyd was not started again")

    def test_no_answered_update_is_lost(self):
        self.ctl("domain", "create", DOMAIN, "--account-foldering", "1")
        names = relocation_test.Relocation.accounts_of(self, DOMAIN, REGISTRARS * ACCOUNTS)
        with Wire(self.stack.facts["socket"]) as wire:
            for name in names:
                wire.call("Info.Set", {1: {1: name}, 2: INFO, 3: "{Count=#0;}", 6: os.urandom(16)})
        registrars = [Registrar(self, names[i::REGISTRARS]) for i in range(REGISTRARS)]
        for registrar in registrars:
            registrar.start()
        updates = 0
        try:
            for _ in range(KILLS):
                # Five ends within ten seconds are too many for the script that starts it again.
                time.sleep(random.uniform(0.3, 1.5) if KILLS <= 4 else random.uniform(2.5, 4))
                self.killed()
                deadline = time.monotonic() + 60
                while sum(registrar.updates for registrar in registrars) < updates + 50:
                    self.assertLess(time.monotonic(), deadline, "the registrars do not go on")
                    time.sleep(0.02)
                updates = sum(registrar.updates for registrar in registrars)
        finally:
            for registrar in registrars:
                registrar.over.set()
            for registrar in registrars:
                registrar.join()
        with Wire(self.stack.facts["socket"]) as wire:
            for registrar in registrars:
                registrar.look(wire)
        self.assertEqual([wrong for registrar in registrars for wrong in registrar.wrong], [])
        journal = os.path.join(self.base(), ".canopy", "journal")
        self.assertIn("0", os.listdir(journal))
        print(f"{KILLS} kills, {updates} updates, none lost, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    unittest.main()
