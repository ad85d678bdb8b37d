"""The fast index of a domain is switched to and fro while registrars rewrite the infos of its accounts, as for SIP: no request
fails and no update is lost. CANOPY_FAST_ACCOUNTS=2000 CANOPY_FAST_ROUNDS=10: at length."""
import os
import random
import re
import threading
import time
import unittest

import relocation_test
from store_moves_test import Several
from wire import Refused, Wire

ACCOUNTS = int(os.environ.get("CANOPY_FAST_ACCOUNTS", "60"))
ROUNDS = int(os.environ.get("CANOPY_FAST_ROUNDS", "1"))
REGISTRARS = 4
DOMAIN = "sip.example"
INFO = 1
ABORTED = 10  # of google.rpc.Code: the version is not the one that was named
COUNT = re.compile(r"Count\s*=\s*#(\d+)")


def count_in(text):
    return int(COUNT.search(text)[1])


class Registrar(threading.Thread):
    """Reads an info and writes it with its count one higher, if it is still that version; others do the same to the same
    accounts. So each update that was answered has to be in the count."""

    def __init__(self, case, accounts, seed):
        super().__init__(daemon=True)
        self.case, self.accounts, self.random = case, accounts, random.Random(seed)
        self.over, self.errors, self.conflicts, self.slowest = threading.Event(), [], 0, 0.0
        self.added = {name: 0 for name in accounts}

    def run(self):
        with Wire(self.case.stack.facts["socket"]) as wire:
            while not self.over.is_set():
                begun = time.monotonic()
                try:
                    self.register(wire, self.random.choice(self.accounts))
                except (OSError, Refused, TypeError, AssertionError) as error:
                    self.errors.append(repr(error))
                self.slowest = max(self.slowest, time.monotonic() - begun)

    def register(self, wire, name):
        answer = wire.call("Info.Get", {1: {1: name}, 2: INFO})
        count, version = count_in(answer[1][0].decode()), answer[2][0]
        own = self.added[name]
        if count < own:
            raise AssertionError(f"{name}: {count} is less than the {own} that this client alone has added")
        contact = f'Contact="sip:{name.split("@")[0]}@198.51.100.{self.random.randrange(250)}:5060";Expires=#3600;'
        try:
            written = wire.call("Info.Set", {1: {1: name}, 2: INFO, 3: f"{{Count=#{count + 1};{contact}}}", 5: version,
                                             6: os.urandom(16)})
        except Refused as refused:
            if refused.code != ABORTED:
                raise
            self.conflicts += 1  # somebody else was first
            return
        self.added[name] += 1
        if written[2][0] != version + 1:
            raise AssertionError(f"{name}: version {written[2][0]} came after {version}")

    def stop(self):
        self.over.set()
        if self.is_alive():
            self.join()


class FastIndex(Several):
    def setUp(self):
        super().setUp()
        self.ctl("domain", "create", DOMAIN, "--account-foldering", "1")

    def infos(self):
        """{account: directory of its info below any store}, of the files themselves."""
        found = {}
        for store, root in self.stores.items():
            for path, _, files in os.walk(os.path.join(root, "SharedDomains")):
                for file in files:
                    if file.endswith(".info"):
                        inside = path.endswith(".macnt")
                        name = os.path.basename(path).removesuffix(".macnt") if inside else file.removesuffix(".info")
                        self.assertNotIn(name, found)
                        found[name] = (store, os.path.relpath(path, root))
        return found

    def switch_under_load(self, store_of_fast):
        names = relocation_test.Relocation.accounts_of(self, DOMAIN, ACCOUNTS)
        with Wire(self.stack.facts["socket"]) as wire:
            for name in names:
                wire.call("Info.Set", {1: {1: name}, 2: INFO, 3: "{Count=#0;}", 6: os.urandom(16)})
        registrars = [Registrar(self, names, seed) for seed in range(REGISTRARS)]
        for registrar in registrars:
            self.addCleanup(registrar.stop)
            registrar.start()
        begun = time.monotonic()
        for _ in range(ROUNDS):
            for index in (1, 2, 0):
                before = [sum(registrar.added.values()) for registrar in registrars]
                self.ctl("domain", "set", DOMAIN, f"FastIndex=#{index}")
                shown = self.settled(DOMAIN)
                self.assertEqual(shown["failed"], 0)
                deadline = time.monotonic() + 120
                while any(sum(registrar.added.values()) == had for registrar, had in zip(registrars, before)):
                    self.assertLess(time.monotonic(), deadline, "a registrar does not go on")
                    time.sleep(0.01)
                infos = self.infos()
                self.assertEqual(sorted(infos), sorted(name.split("@")[0] for name in names))
                for name, (store, path) in infos.items():
                    folder = name[0] + ".sub"
                    place = {0: f"SharedDomains/{DOMAIN}/{folder}/{name}.macnt", 1: f"SharedDomains/fast/{DOMAIN}/{folder}",
                             2: f"SharedDomains/{DOMAIN}/fast/{folder}"}[index]
                    self.assertEqual((store, path), (store_of_fast if index == 1 else "root", place))
        for registrar in registrars:
            registrar.stop()
        seconds = time.monotonic() - begun
        self.assertEqual([error for registrar in registrars for error in registrar.errors][:3], [])
        with Wire(self.stack.facts["socket"]) as wire:
            for name in names:
                text = wire.call("Info.Get", {1: {1: name}, 2: INFO})[1][0].decode()
                self.assertEqual(count_in(text), sum(registrar.added[name] for registrar in registrars), name)
        added = sum(sum(registrar.added.values()) for registrar in registrars)
        print(f"{ACCOUNTS} accounts, {3 * ROUNDS} switches, {added} updates in {seconds:.0f} s and none lost, "
              f"{sum(registrar.conflicts for registrar in registrars)} conflicts, "
              f"slowest {1000 * max(registrar.slowest for registrar in registrars):.0f} ms, load {os.getloadavg()[0]:.1f}")
        self.assertEqual(self.ctl("check", DOMAIN)["damages"], [])

    def settled(self, domain="/"):
        return relocation_test.Relocation.settled(self, domain)

    def test_to_and_fro_on_one_store(self):
        self.switch_under_load("root")

    def test_to_and_fro_with_a_fast_store(self):
        self.add("fast")
        self.table("/ root\nSharedDomains/fast fast\n")
        self.switch_under_load("fast")


if __name__ == "__main__":
    unittest.main()
