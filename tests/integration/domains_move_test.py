"""Domains that move to another domain foldering while people use their accounts."""
import json
import os
import random
import signal
import sys
import tempfile
import time
import unittest

import relocation_test as relocation
from ctl_case import FAILED
from mail_case import MailCase
from stack import OVER_NFS, SOURCE

sys.path.insert(0, os.path.join(SOURCE, "tests/formats"))
import tree  # noqa: E402

DOMAINS = int(os.environ.get("CANOPY_DOMAINS", "24" if OVER_NFS else "120"))
KILLS = int(os.environ.get("CANOPY_DOMAIN_KILLS", "1" if OVER_NFS else "3"))
LONG = DOMAINS >= 1000
ROWS_AT_ONCE = 1000  # of accounts that are made
LAYOUTS = (("flat", 0), ("1", 0), ("1", 2), ("flat", 1))  # of their accounts, by turns
if OVER_NFS:  # where a change of fast folders is waited for, two minutes each
    LAYOUTS = LAYOUTS[:2]


class Clients(relocation.Clients):
    """The same, with an alias now and then in place of the account, and the time that each step took."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.took = []

    def timed(self, step, name):
        began = time.monotonic()
        step(name)
        self.took.append(time.monotonic() - began)

    def deliver(self, name):
        self.timed(self.deliver_to, name)

    def deliver_to(self, name):
        self.number += 1
        text = relocation.message(f"{self.seed}-{self.number}")
        self.case.deliver(name.replace("user", "alias") if self.number % 3 == 0 else name, text)
        self.delivered[name].append(text)

    def read(self, name):
        self.timed(super().read, name)


def milliseconds_of(clients):
    """How long deliveries and sessions took since the last call: how many, the median, 99 of 100, and the longest."""
    took = sorted(one for client in clients for one in client.took)
    for client in clients:
        client.took = []
    if not took:
        return {"count": 0}
    return {"count": len(took), **{name: round(1000 * took[min(len(took) - 1, int(len(took) * share))])
                                   for name, share in (("median", 0.5), ("p99", 0.99), ("max", 1))}}


class DomainsMove(MailCase):
    check_contents = relocation.Relocation.check_contents

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.layouts = {f"{random.Random(number).choice('abcxyz')}domain{number}.example": LAYOUTS[number % len(LAYOUTS)]
                       for number in range(DOMAINS)}
        cls.stack.stop()
        for domain, (method, index) in cls.layouts.items():  # by hand, which is quicker
            directory = os.path.join(cls.stack.facts["base"], "SharedDomains", domain)
            os.mkdir(directory)
            with open(os.path.join(directory, "domain.settings"), "w", encoding="utf-8") as file:
                file.write(f"{{Foldering={method};FastIndex=#{index};}}")
        cls.stack.start()
        cls.names = [f"user@{domain}" for domain in cls.layouts]
        cls.used = random.Random(7).sample(cls.names, min(30, len(cls.names)))
        for begin in range(0, DOMAINS, ROWS_AT_ONCE):
            rows = "".join(f"{name},{'secret' if name in cls.used else ''},{{Colour=c{name.split('@')[1]};}}\n"
                           for name in cls.names[begin:begin + ROWS_AT_ONCE])
            with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
                file.write("name,password,settings\n" + rows)
                file.flush()
                cls.stack.ctl("account", "create", "--from-csv", file.name)
        for name in cls.used:
            cls.stack.ctl("account", "alias", "set", name.replace("user", "alias"), name)

    def settled(self):
        """All domains are where they belong, and then their accounts' settings."""
        deadline = time.monotonic() + 60 + DOMAINS
        shown = self.ctl("relocation", "show", "*")
        while shown["state"] not in ("finished", "none"):
            self.assertLess(time.monotonic(), deadline, shown)
            time.sleep(0.2)
            shown = self.ctl("relocation", "show", "*")
        calm = 0
        while calm < 3:  # it looks every second
            rows = [row for row in self.ctl("relocation", "list") if row["state"] != "finished"]
            self.assertLess(time.monotonic(), deadline, rows)
            calm = 0 if rows else calm + 1
            time.sleep(0.5)
        return shown

    def place(self, domain, foldering):
        method, index = self.layouts[domain]
        directory = "/".join(["SharedDomains", *tree.folders(foldering, domain), domain])
        return directory, tree.place_of(f"user@{domain}", tree.account_directory(directory, "user", method), index)

    def check_places(self, foldering):
        for domain in self.layouts:
            directory, place = self.place(domain, foldering)
            self.assertTrue(os.path.isfile(self.base(directory, "domain.settings")), directory)
            self.assertTrue(os.path.isdir(self.base(place.directory)), place.directory)
            self.assertTrue(os.path.isfile(self.base(place.settings)), place.settings)
        elsewhere = [path for path, _, files in os.walk(self.base("SharedDomains")) if "domain.settings" in files]
        self.assertEqual(len(elsewhere), DOMAINS + 1)  # and that of the system itself
        for name in random.sample(self.names, 20):
            self.assertEqual(self.ctl("settings", "get", name)["values"]["Colour"], "c" + name.split("@")[1])
        text = ""
        if os.path.exists(self.base("Settings/Tree.settings")):
            with open(self.base("Settings/Tree.settings"), encoding="utf-8") as file:
                text = file.read()
        self.assertNotIn("Superseded", text)

    def clients(self, count, seed, patient=False):
        made = [Clients(self, self.used[i::count], seed + i, patient) for i in range(count)]
        for client in made:
            self.addCleanup(client.stop)
        return made

    def test_1_users_notice_nothing_while_domains_get_folders_and_lose_them(self):
        clients = self.clients(3, 0)
        for client in clients:
            client.start()
        time.sleep(20 if LONG else 2)
        figures = [{"users_alone_ms": milliseconds_of(clients)}]
        for foldering in ("1", "flat") if LONG else ("1", "2-1", "flat"):
            began = time.monotonic()
            before = self.ctl("relocation", "show", "*")
            self.assertEqual(self.ctl("domain", "foldering", foldering)["domain_foldering"], foldering)
            new = f"new-{foldering}.example"
            self.ctl("domain", "create", new)
            self.assertEqual(self.ctl("domain", "show", new)["directory"],
                             "/".join(["SharedDomains", *tree.folders(foldering, new), new]))
            self.ctl("domain", "delete", new)
            shown = self.settled()
            figures.append({"foldering": foldering, "domains": shown["moved"] - before["moved"],
                            "seconds_of_domains": shown["seconds"] - before["seconds"],
                            "seconds_with_settings": round(time.monotonic() - began, 1),
                            "held_ms_max": shown["held_ms_max"], "users_ms": milliseconds_of(clients)})
            self.check_places(foldering)
        print(json.dumps(figures))
        for client in clients:
            client.stop()
        self.assertEqual([error for client in clients for error in client.errors], [])
        self.assertGreater(min(client.done for client in clients), 0)
        self.check_contents(clients, self.used[:10])
        for client in clients:
            for name, count in client.counted.items():
                self.assertEqual(self.ctl("info", "get", name)["values"].get("Count", 0), count, name)
        # But for those of the domains that were deleted.
        left = [name for name in os.listdir(self.base("SharedDomains")) if name.endswith(".sub")]
        self.assertLessEqual(set(left), {"n.sub", "ne.sub"})

    def test_2_killed_anywhere_it_goes_on(self):
        clients = self.clients(2, 20, patient=True)
        before = {name: len(self.contents(name)) for name in self.used}
        folderings = ("1", "hash-1-1", "flat")
        for number in range(KILLS):
            self.ctl("domain", "foldering", folderings[number % len(folderings)])
            self.ctl("relocation", "set", "*", "--rate", str(max(1, DOMAINS // 2)))  # for two seconds at least
            time.sleep(random.Random(number).uniform(0.3, 40 if LONG else 2.5))
            self.stack.stop(signal.SIGKILL)
            self.stack.start()
            for client in clients:
                if not client.is_alive() and not client.over.is_set():
                    client.start()
            for name in random.sample(self.names, 10):
                self.assertEqual(self.ctl("settings", "get", name)["values"]["Colour"], "c" + name.split("@")[1])
        self.ctl("relocation", "set", "*", "--rate", "0")
        self.settled()
        for client in clients:
            client.stop()
        self.check_places(folderings[(KILLS - 1) % len(folderings)])
        for client in clients:
            for name in client.accounts[:6]:
                got = [text.decode() for text in self.contents(name)]
                self.assertGreaterEqual(len(got), before[name] + len(client.delivered[name]))
                for text in client.delivered[name]:
                    self.assertEqual(sum(one.endswith(text) for one in got), 1, name)
        self.assertEqual(self.ctl("check", self.used[0])["damages"], [])

    def test_3_it_pauses_and_turns_back_and_refuses_what_has_no_place(self):
        self.ctl("domain", "foldering", "flat")
        self.settled()
        self.ctl("relocation", "set", "*", "--rate", "1")
        before = self.ctl("relocation", "show", "*")["moved"]
        self.ctl("domain", "foldering", "1-1")
        deadline = time.monotonic() + 60
        while (shown := self.ctl("relocation", "show", "*"))["moved"] == before or shown["seconds_left"] == 0:
            self.assertLess(time.monotonic(), deadline, shown)
            time.sleep(0.05)
        self.assertGreater(shown["moved_per_second"], 0)
        self.assertEqual([(store["name"], store["reads"], store["writes"]) for store in shown["stores"]], [("root", True, True)])
        self.ctl("relocation", "pause", "*")
        while self.ctl("relocation", "show", "*")["state"] != "paused" and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.ctl("relocation", "show", "*")["seconds_left"], 0)
        under = [name for name in os.listdir(self.base("SharedDomains")) if name in self.layouts]
        self.assertTrue(0 < len(under) < DOMAINS, len(under))
        for name in self.names[:10]:
            self.deliver(name, relocation.message("paused"))
        waiting = under[0]  # a domain that has not moved is changed where it is
        self.ctl("domain", "rename", waiting, "renamed.example")
        self.assertEqual(self.ctl("domain", "show", "renamed.example")["directory"], "SharedDomains/renamed.example")
        self.ctl("domain", "rename", "renamed.example", waiting)
        self.ctl("domain", "set", waiting, "Mine=x")
        self.assertEqual(self.ctl("domain", "show", waiting)["directory"], "SharedDomains/" + waiting)
        self.stack.stop(signal.SIGKILL)
        self.stack.start()
        self.assertEqual(self.ctl("relocation", "show", "*")["state"], "paused")
        self.ctl("relocation", "set", "*", "--rate", "0")
        self.assertEqual(self.ctl("relocation", "cancel", "*")["to"]["account_foldering"], "flat")
        self.settled()
        self.check_places("flat")
        self.ctl("domain", "foldering", "1-1")
        self.settled()
        self.ctl("domain", "create", "deep.example", "--fast-index", "4")
        self.assertIn("deep.example", self.refused(FAILED, "domain", "foldering", "flat")["object"])
        self.ctl("domain", "delete", "deep.example")
        self.refused(FAILED, "domain", "foldering", "9")
        self.ctl("domain", "foldering", "flat")
        self.settled()
        self.check_places("flat")


if __name__ == "__main__":
    unittest.main()
