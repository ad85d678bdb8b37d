"""Accounts that move to another layout of their domain while people use them."""
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from ctl_case import CTL, FAILED, NOT_FOUND, TEMPORARY
from mail_case import MailCase

ROUNDS = int(os.environ.get("CANOPY_RELOCATION_ROUNDS", "3"))  # of killing canopyd
ACCOUNTS = int(os.environ.get("CANOPY_RELOCATION_ACCOUNTS", "60"))
LAYOUTS = ("2-1", "flat", "1", "hash-1-1", "2-2", "1-1", "flat")


def message(number):
    return f"Subject: number {number}\r\n\r\nThis is message {number}.\r\n"


class Clients(threading.Thread):
    """Somebody who delivers, reads and counts info up until stop(); what was acknowledged, and what went wrong."""

    def __init__(self, case, accounts, seed, patient=False):
        super().__init__(daemon=True)
        self.case, self.accounts, self.random = case, accounts, random.Random(seed)
        self.patient = patient  # with errors, while the daemon is away
        self.delivered = {name: [] for name in accounts}
        self.counted = {name: 0 for name in accounts}
        self.errors, self.over, self.done = [], threading.Event(), 0
        self.seed, self.number = seed, 0

    def run(self):
        while not self.over.is_set():
            name = self.random.choice(self.accounts)
            step = self.random.choice((self.deliver, self.deliver, self.read, self.count))
            try:
                step(name)
                self.done += 1
            except Exception as error:  # whatever a client sees counts
                if not self.patient:
                    self.errors.append(f"{step.__name__} {name}: {error!r}")
                time.sleep(0.02)

    def stop(self):
        self.over.set()
        if self.is_alive():
            self.join()

    def deliver(self, name):
        self.number += 1
        text = message(f"{self.seed}-{self.number}")
        self.case.deliver(name, text)
        self.delivered[name].append(text)

    def read(self, name):
        before = len(self.delivered[name])
        client = self.case.pop3(name)
        try:
            count = client.stat()[0]
            if count < before:
                raise AssertionError(f"{count} messages, {before} were acknowledged")
            if count:
                client.retr(self.random.randint(1, count))
        finally:
            client.quit()

    def count(self, name):
        done = self.case.stack.ctl("info", "set", name, f"Count=#{self.counted[name] + 1}", check=False)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        self.counted[name] += 1


class Relocation(MailCase):
    def domain(self, name, *options):
        self.ctl("domain", "create", name, *options)
        self.addCleanup(self.stack.ctl, "domain", "delete", name, "--recursive", check=False)
        return name

    def accounts_of(self, domain, count, password="secret"):
        names = [f"{random.Random(i).choice('abcxyz')}user{i}" for i in range(count)]
        rows = "name,password,settings\n" + "".join(f"{name},{password},{{Colour=c{name};}}\n" for name in names)
        with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
            file.write(rows)
            file.flush()
            self.text("account", "create", "--from-csv", file.name, "--domain", domain)
        return [f"{name}@{domain}" for name in names]

    def found_at(self, domain):
        """Where the accounts' directories lie, by name; one that lies twice fails the test."""
        found = {}
        for path, folders, _ in os.walk(self.base("SharedDomains", domain)):
            for folder in [one for one in folders if one.endswith(".macnt")]:
                self.assertNotIn(folder, found)
                found[folder] = os.path.relpath(os.path.join(path, folder), self.base())
                folders.remove(folder)
        return {name.removesuffix(".macnt"): path for name, path in found.items()}

    def check_places(self, domain, names, foldering, fast_index=0):
        found = self.found_at(domain)
        self.assertEqual(sorted(found), sorted(name.split("@")[0] for name in names))
        for name in random.sample(names, min(10, len(names))):
            paths = self.text("path", domain, name.split("@")[0], "--account-foldering", foldering, "--fast-index",
                              str(fast_index), "--domain-foldering", "flat").split()
            self.assertEqual(found[name.split("@")[0]], paths[0])
            self.assertTrue(os.path.exists(self.base(paths[1])), paths[1])
            located = self.ctl("locate", name)
            self.assertEqual((located["account_directory"], located["settings_file"]), tuple(paths))
            self.assertEqual(self.ctl("settings", "get", name)["values"]["Colour"], "c" + name.split("@")[0])

    def settled(self, domain):
        shown = json.loads(self.stack.ctl("--json", "relocation", "show", domain, "--wait").stdout)
        self.assertIn(shown["state"], ("finished", "none"), shown)
        return shown

    def check_contents(self, clients, names):
        for name in names:
            wanted = sorted(text for client in clients for text in client.delivered.get(name, ()))
            got = sorted(content.decode().split("\r\n", 1)[1] for content in self.contents(name))
            stripped = sorted(text[text.index("Subject:"):] for text in got)
            self.assertEqual(stripped, wanted, name)

    def test_users_notice_nothing_while_their_accounts_move_through_all_layouts(self):
        domain = self.domain("moving.example")
        names = self.accounts_of(domain, ACCOUNTS)
        clients = [Clients(self, names[i::3], i) for i in range(3)]
        for client in clients:
            self.addCleanup(client.stop)
            client.start()
        for layout in LAYOUTS:
            self.ctl("domain", "set", domain, f"Foldering={layout}")
            self.settled(domain)
            self.check_places(domain, names, layout)
        for client in clients:
            client.stop()
        self.assertEqual([error for client in clients for error in client.errors], [])
        self.assertGreater(min(client.done for client in clients), 0)
        self.check_contents(clients, names[:6])
        for client in clients:
            for name, count in client.counted.items():
                info = self.ctl("info", "get", name)["values"]
                self.assertEqual(info.get("Count", 0), count, name)
        folders = [name for name in os.listdir(self.base("SharedDomains", domain)) if name.endswith(".sub")]
        self.assertEqual(folders, [])  # those of the layouts before have gone
        self.assertEqual(self.ctl("check", domain)["damages"], [])

    def test_settings_and_info_go_to_fast_folders_and_back(self):
        domain = self.domain("fast.example", "--account-foldering", "1")
        names = self.accounts_of(domain, 30)
        client = Clients(self, names, 7)
        self.addCleanup(client.stop)
        client.start()
        for index in (1, 2, 0, 2, 0):
            self.ctl("domain", "set", domain, f"FastIndex=#{index}")
            self.settled(domain)
            self.check_places(domain, names, "1", index)
            if index == 2:  # a creation that never ended has left this
                left = self.base(self.text("path", domain, "nobody", "--account-foldering", "1", "--fast-index", "2",
                                           "--domain-foldering", "flat").split()[1])
                os.makedirs(os.path.dirname(left), exist_ok=True)
                shutil.copy(self.base(self.ctl("locate", names[0])["settings_file"]), left)
        client.stop()
        self.assertEqual(client.errors, [])
        for name, count in client.counted.items():
            self.assertEqual(self.ctl("info", "get", name)["values"].get("Count", 0), count, name)
        self.assertFalse(os.path.exists(self.base("SharedDomains", domain, "fast")))
        self.assertFalse(os.path.exists(self.base("SharedDomains", "fast", domain)))

    def test_killed_anywhere_it_goes_on_and_every_account_is_whole_at_one_place(self):
        domain = self.domain("killed.example")
        names = self.accounts_of(domain, ACCOUNTS)
        clients = [Clients(self, names[i::2], 10 + i, patient=True) for i in range(2)]
        for client in clients:
            self.addCleanup(client.stop)
        layouts = [("2-1", 0), ("hash-1-1", 2), ("flat", 1), ("1-1", 3), ("flat", 0)]
        for number in range(ROUNDS):
            method, index = layouts[number % len(layouts)]
            self.ctl("domain", "set", domain, f"Foldering={method}", f"FastIndex=#{index}")
            self.ctl("relocation", "set", domain, "--rate", str(ACCOUNTS))  # so that it is under way for a second
            time.sleep(random.Random(number).uniform(0.3, 2.0))  # it looks every second
            self.stack.stop(signal.SIGKILL)
            found = self.found_at(domain)
            self.assertEqual(len(found), len(names))
            self.stack.start()
            for client in clients:
                if not client.is_alive() and not client.over.is_set():
                    client.start()
            for name in random.sample(names, 10):
                self.assertEqual(self.ctl("settings", "get", name)["values"]["Colour"], "c" + name.split("@")[0])
        self.settled(domain)
        for client in clients:
            client.stop()
        self.check_places(domain, names, *layouts[(ROUNDS - 1) % len(layouts)])
        for client in clients:
            for name in client.accounts[:5]:
                got = [text.decode() for text in self.contents(name)]
                for text in client.delivered[name]:
                    self.assertEqual(sum(one.endswith(text) for one in got), 1, name)
        self.assertEqual(self.ctl("check", domain)["damages"], [])

    def test_it_pauses_goes_on_slower_and_turns_back(self):
        domain = self.domain("paused.example")
        names = self.accounts_of(domain, 50)
        self.ctl("relocation", "set", domain, "--rate", "5", "--concurrency", "2")
        self.ctl("domain", "set", domain, "Foldering=1")
        deadline = time.monotonic() + 60
        while self.ctl("relocation", "show", domain)["moved"] == 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        paused = self.ctl("relocation", "pause", domain)
        self.assertEqual((paused["rate"], paused["concurrency"]), (5, 2))
        while self.ctl("relocation", "show", domain)["state"] != "paused" and time.monotonic() < deadline:
            time.sleep(0.1)
        some = sum("/" in path.removeprefix(f"SharedDomains/{domain}/") for path in self.found_at(domain).values())
        self.assertTrue(0 < some < 50, some)
        # Meanwhile nothing is different for anybody, and what is new has the new layout.
        self.ctl("account", "create", f"new@{domain}", "--no-password")
        self.assertEqual(self.ctl("locate", f"new@{domain}")["account_directory"],
                         f"SharedDomains/{domain}/n.sub/new.macnt")
        self.assertEqual(len(self.ctl("account", "list", domain)), 51)
        for name in names[:5]:
            self.deliver(name, message(1))
        renamed = f"zz{names[6]}"
        self.ctl("account", "rename", names[6], renamed)
        self.assertEqual(self.ctl("locate", renamed)["account_directory"],
                         f"SharedDomains/{domain}/z.sub/{renamed.split('@')[0]}.macnt")
        self.ctl("account", "delete", names[7])
        self.refused(NOT_FOUND, "account", "show", names[7])
        self.refused(FAILED, "account", "create", names[8], "--no-password")  # it is there, wherever
        self.refused(FAILED, "domain", "set", domain, "SupersededLayouts=#NULL#")
        self.stack.stop(signal.SIGKILL)
        self.stack.start()
        self.assertEqual(self.ctl("relocation", "show", domain)["rate"], 5)
        self.ctl("relocation", "set", domain, "--rate", "0")
        back = self.ctl("relocation", "cancel", domain)
        self.assertEqual((back["to"]["account_foldering"], back["from"][0]["account_foldering"]), ("flat", "1"))
        self.settled(domain)
        self.assertEqual({os.path.dirname(path) for path in self.found_at(domain).values()}, {f"SharedDomains/{domain}"})
        self.assertEqual(self.ctl("domain", "show", domain)["settings"].get("SupersededLayouts"), None)
        self.assertEqual(self.ctl("domain", "show", domain)["settings"]["Relocation"], {"Concurrency": 2})

    def test_a_domain_gets_another_name_while_its_accounts_move(self):
        domain = self.domain("before.example")
        names = self.accounts_of(domain, 60)
        for name in names[:8]:
            self.deliver(name, message(1))
        self.ctl("relocation", "set", domain, "--rate", "1")
        self.ctl("domain", "set", domain, "Foldering=2-1")
        called = domain
        for number, to in enumerate(("after.example", "before.example", "after.example")):
            deadline = time.monotonic() + 60
            while self.ctl("relocation", "show", called)["moved"] == 0 and time.monotonic() < deadline:
                time.sleep(0.05)
            self.ctl("domain", "rename", called, to)
            self.refused(NOT_FOUND, "domain", "show", called)
            called = to
            self.assertNotEqual(self.ctl("domain", "show", called)["settings"].get("SupersededLayouts"), None)
            for name in (name.replace("@before", "@" + to.split(".", maxsplit=1)[0]) for name in names[:8]):
                self.deliver(name, message(2 + number))
                self.assertEqual(len(self.contents(name)), 2 + number, name)
        self.addCleanup(self.stack.ctl, "domain", "delete", called, "--recursive", check=False)
        self.stack.stop(signal.SIGKILL)
        self.stack.start()
        self.ctl("relocation", "set", called, "--rate", "0")
        self.settled(called)
        names = [name.replace("@before", "@after") for name in names]
        found = self.found_at(called)
        self.assertEqual(sorted(found), sorted(name.split("@")[0] for name in names))
        for name in names[:8]:
            self.assertEqual(found[name.split("@")[0]], self.ctl("locate", name)["account_directory"])
            self.assertEqual(len(self.contents(name)), 4, name)
        # Settings above the domain's directory are another matter.
        self.ctl("relocation", "set", called, "--rate", "1")
        self.ctl("domain", "set", called, "FastIndex=#1")
        self.assertIn("canopyctl relocation show", self.refused(TEMPORARY, "domain", "rename", called, domain)["message"])
        self.ctl("relocation", "set", called, "--rate", "0")
        self.settled(called)
        self.ctl("domain", "rename", called, domain)
        self.assertEqual(len(self.contents(names[0].replace("@after", "@before"))), 4)

    def shows(self, domain, key, value):
        deadline = time.monotonic() + 120
        while (shown := self.ctl("relocation", "show", domain))[key] != value:
            self.assertLess(time.monotonic(), deadline, shown)
            time.sleep(0.1)
        return shown

    def test_outside_of_its_window_nothing_moves(self):
        domain = self.domain("closed.example")
        names = self.accounts_of(domain, 30)
        hour = (time.gmtime().tm_hour + 12) % 24
        closed = f"{hour:02}:00-{(hour + 1) % 24:02}:00"
        self.ctl("relocation", "set", domain, "--window", closed, "--rate", "1")
        self.ctl("domain", "set", domain, "foldering=1")
        time.sleep(3)  # it looks every second
        self.assertEqual(self.shows(domain, "state", "waiting")["moved"], 0)
        self.assertEqual({os.path.dirname(path) for path in self.found_at(domain).values()}, {f"SharedDomains/{domain}"})
        with subprocess.Popen([CTL, "--server", "unix:" + self.stack.facts["socket"], "relocation", "show", domain, "--wait"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waits:
            line = waits.stderr.readline()
            waits.terminate()
        self.assertRegex(line, f"^{domain}: waiting, 0 moved.*, within root \\([0-9]+ under way, p99 below [0-9]+ us\\)$")
        # In the middle, too.
        self.ctl("relocation", "set", domain, "--window", "always")
        deadline = time.monotonic() + 120
        while self.ctl("relocation", "show", domain)["moved"] == 0:
            self.assertLess(time.monotonic(), deadline)
        self.ctl("relocation", "set", domain, "--window", closed)
        some = self.shows(domain, "state", "waiting")["moved"]
        self.assertTrue(0 < some < 30, some)
        time.sleep(4)
        shown = self.ctl("relocation", "show", domain)
        self.assertLessEqual(shown["moved"], some + 1)  # the one whose turn was near
        self.assertEqual((shown["state"], shown["seconds_left"], shown["window"]), ("waiting", 0, closed))
        self.ctl("relocation", "set", domain, "--window", "always", "--rate", "0")
        self.assertEqual(self.settled(domain)["moved"], 30)
        self.check_places(domain, names, "1")

    def test_no_more_accounts_a_second_move_than_the_rate_says(self):
        domain = self.domain("rated.example")
        names = self.accounts_of(domain, 20)
        self.ctl("relocation", "set", domain, "--rate", "5")
        began = time.monotonic()
        self.ctl("domain", "set", domain, "foldering=1")
        shown = self.settled(domain)
        self.assertGreaterEqual(time.monotonic() - began, 3)
        self.assertGreaterEqual(shown["seconds"], 3)
        self.assertEqual(shown["moved"], 20)
        self.check_places(domain, names, "1")

    def test_many_domains_at_once_wait_for_their_turn(self):
        domains = [f"many{number}.example" for number in range(70)]
        with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
            file.write("name\n" + "".join(f"user{i}@{domain}\n" for domain in domains for i in range(3)))
            file.flush()
            for domain in domains:
                self.domain(domain)
                # Beforehand, so that all are under way when the daemon is back.
                self.ctl("relocation", "set", domain, "--rate", "1")
            self.text("account", "create", "--from-csv", file.name)
        for domain in domains:
            self.ctl("domain", "set", domain, "foldering=1")
        left = set(domains)
        self.stack.stop(signal.SIGKILL)
        self.stack.start()
        deadline = time.monotonic() + 240
        while left:
            self.assertLess(time.monotonic(), deadline, left)
            shown = {row["domain"]: row for row in self.ctl("relocation", "list")}
            moving = [row for row in shown.values() if row["state"] == "moving"]
            self.assertLessEqual(len(moving), 64)
            left = {name for name in left if shown.get(name, {}).get("state") in ("moving", "waiting", "retrying")
                    or self.ctl("relocation", "show", name)["state"] not in ("finished", "none")}
            time.sleep(0.2)
        for domain in domains:
            self.assertEqual({path.count("/") for path in self.found_at(domain).values()}, {3}, domain)

    def test_a_window_and_wrong_words(self):
        domain = self.domain("window.example")
        self.accounts_of(domain, 5)
        self.refused(NOT_FOUND, "relocation", "pause", domain)
        self.assertEqual(self.ctl("relocation", "show", domain)["state"], "none")
        self.ctl("domain", "set", domain, "Foldering=1")
        hour = (time.gmtime().tm_hour + 12) % 24
        self.ctl("relocation", "set", domain, "--window", f"{hour:02}:00-{(hour + 1) % 24:02}:00", "--rate", "1")
        for words in (("--window", "1-2"), ("--window", "05:00-05:00"), ("--concurrency", "0"), ("--rate", "2000000")):
            self.refused(FAILED, "relocation", "set", domain, *words)
        self.refused(FAILED, "relocation", "set", domain)
        self.assertEqual(self.ctl("relocation", "set", domain, "--window", "always", "--rate", "0")["window"], "")
        self.settled(domain)
        self.ctl("relocation", "set", domain, "--rate", "1")
        # While accounts lie under two layouts a third may be said: they go straight there.
        self.ctl("domain", "set", domain, "Foldering=2-1")
        self.ctl("relocation", "pause", domain)
        self.ctl("domain", "set", domain, "Foldering=hash-1")
        settings = self.ctl("domain", "show", domain)["settings"]
        self.assertEqual([one["Foldering"] for one in settings["SupersededLayouts"]], ["2-1", "1"])
        self.ctl("relocation", "set", domain, "--rate", "0")
        self.ctl("relocation", "resume", domain)
        self.settled(domain)
        self.assertIn(domain, [row["domain"] for row in self.ctl("relocation", "list")])


if __name__ == "__main__":
    import unittest
    unittest.main()
