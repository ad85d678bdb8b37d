"""Accounts that move from store to store while people use them, because the mount table has changed or a store is drained."""
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import unittest

import relocation_test
from ctl_case import FAILED, NOT_FOUND, TEMPORARY
from mail_case import MailCase
from stack import SOURCE, Stack

sys.path.append(os.path.join(SOURCE, "tools"))
from ganesha import Ganesha, why_unavailable  # pylint: disable=wrong-import-position

ROUNDS = int(os.environ.get("CANOPY_STORE_MOVE_ROUNDS", "4"))  # of killing canopyd
ACCOUNTS = int(os.environ.get("CANOPY_STORE_MOVE_ACCOUNTS", "40"))
DOMAIN = "moving.example"
HEX = "0123456789abcdef"


def rows_over(stores):
    """The folders of hash-1, in their order, cut into as many runs as there are stores."""
    rows = ["/ root"]
    for number, store in enumerate(stores):
        letters = HEX[len(HEX) * number // len(stores):len(HEX) * (number + 1) // len(stores)]
        rows.append(f"SharedDomains/{DOMAIN}/[{letters}].sub {store}")
    return "\n".join(rows) + "\n"


class Several(MailCase):
    """A system of its own for each test, with stores beside the root."""

    @classmethod
    def setUpClass(cls):
        pass

    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.__exit__)
        self.stack.start()
        self.ctl("domain", "create", DOMAIN, "--account-foldering", "hash-1")
        self.stores = {"root": self.base()}

    def add(self, name):
        self.stores[name] = tempfile.mkdtemp(prefix="canopy-store.")
        self.addCleanup(lambda: shutil.rmtree(self.stores[name], ignore_errors=True))
        self.ctl("store", "add", name, "dir:" + self.stores[name], "--allow-same-device", "--new")

    def accounts(self, count):
        return relocation_test.Relocation.accounts_of(self, DOMAIN, count)

    def table(self, text):
        return self.ctl("mounts", "set", "-", stdin=text)

    def settled(self):
        """When all have moved; what the relocation says of itself."""
        shown = json.loads(self.stack.ctl("--json", "relocation", "show", "/", "--wait").stdout)
        self.assertIn(shown["state"], ("finished", "none"), shown)
        self.assertEqual(self.ctl("mounts", "show")["superseded"], [])
        return shown

    def found(self):
        """The store and inode of each account's directory; one that counts at two places fails the test."""
        found = {}
        for store, root in self.stores.items():
            for path, folders, _ in os.walk(os.path.join(root, "SharedDomains", DOMAIN)):
                for folder in [one for one in folders if one.endswith(".macnt")]:
                    folders.remove(folder)
                    name = folder.removesuffix(".macnt") + "@" + DOMAIN
                    self.assertNotIn(name, found)
                    found[name] = (store, os.stat(os.path.join(path, folder)).st_ino)
        return found

    def live_bytes(self, names):
        sizes = {}
        for store, root in self.stores.items():
            for path, _, files in os.walk(os.path.join(root, "SharedDomains", DOMAIN)):
                if path.endswith(".macnt"):
                    name = os.path.basename(path).removesuffix(".macnt") + "@" + DOMAIN
                    sizes[name] = sizes.get(name, 0) + sum(os.path.getsize(os.path.join(path, file)) for file in files)
        return sum(sizes[name] for name in names)

    def check_whole(self, clients, names):
        for name in names:
            self.assertEqual(self.ctl("settings", "get", name)["values"]["Colour"], "c" + name.split("@")[0])
        relocation_test.Relocation.check_contents(self, clients, names)
        for client in clients:
            for name, count in client.counted.items():
                self.assertEqual(self.ctl("info", "get", name)["values"].get("Count", 0), count, name)
        self.assertEqual(self.ctl("check", DOMAIN)["damages"], [])

    def check_nothing_left(self):
        for _ in range(50):  # what was set aside goes in the background
            left = []
            for root in self.stores.values():
                for path, _, files in os.walk(os.path.join(root, ".canopy")):
                    kept = ("stage", "trash")
                    left += [os.path.join(path, file) for file in files if any(f"/{word}/" in path + "/" for word in kept)]
            if not left:
                break
            time.sleep(0.1)
        self.assertEqual(left, [])

    def check_after_kills(self, clients, names):
        for client in clients:
            client.stop()
        self.assertEqual(sorted(self.found()), sorted(names))
        for client in clients:
            for name in client.accounts[:6]:
                got = [text.decode() for text in self.contents(name)]
                for text in client.delivered[name]:
                    self.assertEqual(sum(one.endswith(text) for one in got), 1, name)
        self.assertEqual(self.ctl("check", DOMAIN)["damages"], [])
        self.check_nothing_left()

    def clients(self, names, count=3, **more):
        made = [relocation_test.Clients(self, names[i::count], i, **more) for i in range(count)]
        for client in made:
            self.addCleanup(client.stop)
        return made


class Recut(Several):
    def recut(self):
        names = self.accounts(ACCOUNTS)
        for number in range(1, 9):
            self.add(f"disk{number}")
        self.table(rows_over([f"disk{number}" for number in range(1, 7)]))
        self.settled()
        for name in names:
            self.deliver(name, "Subject: large\r\n\r\n" + "A line of sixty-four bytes, which is many times in this one.\r\n" * 1000)
        before = self.found()
        self.assertEqual({store for store, _ in before.values()}, {f"disk{number}" for number in range(1, 7)})
        clients = self.clients(names)
        for client in clients:
            client.start()
        self.table(rows_over([f"disk{number}" for number in range(1, 9)]))
        shown = self.settled()
        for client in clients:
            client.stop()
        self.assertEqual([error for client in clients for error in client.errors], [])
        after = self.found()
        self.assertEqual(sorted(after), sorted(names))
        self.assertEqual({store for store, _ in after.values()}, {f"disk{number}" for number in range(1, 9)})
        moved = [name for name in names if before[name][0] != after[name][0]]
        self.assertEqual({name: after[name][0] for name in names}, {name: self.ctl("locate", name)["store"] for name in names})
        self.assertEqual([name for name in names if before[name][0] == after[name][0] and before[name] != after[name]], [])
        self.assertEqual(shown["moved"], len(moved))
        self.assertGreater(len(moved), 0)
        print(f"{len(moved)} of {len(names)} moved, {shown.get('bytes_copied')} bytes copied, held for up to {shown.get('held_ms_max')} ms")
        for name in names[:6]:
            self.assertEqual(self.ctl("settings", "get", name)["values"]["Colour"], "c" + name.split("@")[0])
            got = [text.decode() for text in self.contents(name)]
            self.assertEqual(sum("Subject: large" in text for text in got), 1)
            for client in clients:
                for text in client.delivered.get(name, ()):
                    self.assertEqual(sum(one.endswith(text) for one in got), 1, name)
        self.assertEqual(self.ctl("check", DOMAIN)["damages"], [])
        self.check_nothing_left()


class Moves(Recut):
    def test_a_table_cut_for_eight_stores_moves_only_what_changes_its_store(self):
        self.recut()

    def test_killed_anywhere_it_goes_on_and_every_account_is_whole_at_one_place(self):
        names = self.accounts(ACCOUNTS)
        for store in ("one", "two"):
            self.add(store)
        clients = self.clients(names, 2, patient=True)
        tables = [rows_over(["one"]), rows_over(["two", "one"]), rows_over(["root", "two"]), rows_over(["one", "two"])]
        for number in range(ROUNDS):
            self.ctl("relocation", "set", "/", "--rate", str(ACCOUNTS))  # so that it is under way for a second
            self.table(tables[number % len(tables)])
            time.sleep(random.Random(number).uniform(0.3, 2.0))
            self.stack.stop(signal.SIGKILL)
            self.stack.start()
            for client in clients:
                if not client.is_alive() and not client.over.is_set():
                    client.start()
            for name in random.Random(number).sample(names, 8):
                self.assertEqual(self.ctl("settings", "get", name)["values"]["Colour"], "c" + name.split("@")[0])
        self.settled()
        self.check_after_kills(clients, names)

    def test_it_pauses_turns_back_and_says_what_it_does_not_move(self):
        names = self.accounts(20)
        self.add("one")
        self.refused(NOT_FOUND, "relocation", "pause", "/")
        self.refused(NOT_FOUND, "relocation", "cancel", "/")
        self.assertEqual(self.ctl("relocation", "show", "/")["state"], "none")
        self.ctl("relocation", "set", "/", "--rate", "5", "--concurrency", "1")
        self.table(rows_over(["one"]))
        deadline = time.monotonic() + 60
        while self.ctl("relocation", "show", "/")["moved"] == 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        self.table(rows_over(["one"]))  # the same once more: what to turn back to stays
        self.assertEqual(self.ctl("relocation", "pause", "/")["rate"], 5)
        while self.ctl("relocation", "show", "/")["state"] != "paused" and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        some = {store for store, _ in self.found().values()}
        self.assertEqual(some, {"root", "one"})
        shown = self.ctl("relocation", "show", "/")
        self.assertEqual([(store["name"], store["reads"], store["writes"], store["state"]) for store in shown["stores"]],
                         [("root", True, False, "up"), ("one", False, True, "up")])
        self.assertGreater(min(store["latency_p99_us"] for store in shown["stores"]), 0)
        self.assertEqual(self.ctl("relocation", "list")[0]["stores"][1]["name"], "one")
        for text in (self.text("relocation", "show", "/"), self.text("relocation", "list")):
            self.assertRegex(text, r"from store +root \([0-9]+ under way, p99 below [0-9]+ us\)")
            self.assertRegex(text, r"to store +one \([0-9]+ under way, p99 below [0-9]+ us\)")
        self.assertEqual(len(self.ctl("account", "list", DOMAIN)), 20)
        self.stack.stop(signal.SIGKILL)
        self.stack.start()
        for name in names:
            self.deliver(name, relocation_test.message(1))
        self.ctl("account", "delete", names[0])
        self.ctl("relocation", "set", "/", "--rate", "0")
        self.ctl("relocation", "cancel", "/")
        self.settled()
        self.assertEqual({store for store, _ in self.found().values()}, {"root"})
        self.assertFalse(os.path.exists(os.path.join(self.stores["one"], "SharedDomains")))
        self.assertEqual([row["stores"] for row in self.ctl("relocation", "list") if row["domain"] == "/"], [[]])
        # A file of nobody's holds up nothing but the end.
        os.makedirs(self.base("SharedDomains", DOMAIN, "0.sub"), exist_ok=True)
        stray = self.base("SharedDomains", DOMAIN, "0.sub", "notes.txt")
        with open(stray, "w", encoding="utf-8") as file:
            file.write("notes")
        self.table(rows_over(["one"]))
        while "notes.txt" not in self.ctl("relocation", "show", "/")["last_error"] and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertIn("notes.txt", self.ctl("relocation", "show", "/")["last_error"])
        os.unlink(stray)
        self.settled()
        self.assertEqual({store for store, _ in self.found().values()}, {"one"})

    def test_one_account_goes_where_it_is_told_and_back(self):
        names = self.accounts(10)
        self.add("one")
        who, other = names[0], names[1]
        self.deliver(who, relocation_test.message(1))
        self.refused(FAILED, "account", "move", who)
        self.refused(NOT_FOUND, "account", "move", who, "--back")
        self.refused(NOT_FOUND, "account", "move", f"nobody@{DOMAIN}", "one")
        self.refused(FAILED, "account", "move", who, "none")
        self.assertEqual(self.ctl("account", "move", who, "one", "--wait")["store"], "one")
        self.ctl("account", "move", other, "one", "--wait")
        self.assertEqual({name for name, (store, _) in self.found().items() if store == "one"}, {who, other})
        self.assertEqual(self.ctl("locate", who)["store"], "one")
        self.assertEqual(len(self.contents(who)), 1)
        self.assertEqual(self.ctl("settings", "get", who)["values"]["Colour"], "c" + who.split("@")[0])
        self.assertEqual(self.ctl("account", "move", who, "--back", "--wait")["store"], "root")
        self.assertEqual({name for name, (store, _) in self.found().items() if store == "one"}, {other})
        self.assertEqual(len(self.contents(who)), 1)

    def test_a_domain_keeps_its_name_while_its_accounts_go_to_other_stores(self):
        names = self.accounts(10)
        self.add("one")
        self.table("/ root\nSharedDomains/*/[8-9a-f].sub one\n")
        self.settled()
        self.assertEqual({store for store, _ in self.found().values()}, {"root", "one"})
        self.ctl("relocation", "set", DOMAIN, "--rate", "1")
        self.ctl("domain", "set", DOMAIN, "Foldering=flat")
        self.ctl("relocation", "pause", DOMAIN)
        self.refused(TEMPORARY, "domain", "rename", DOMAIN, "other.example")
        self.ctl("relocation", "resume", DOMAIN)
        self.ctl("relocation", "set", DOMAIN, "--rate", "0")
        relocation_test.Relocation.settled(self, DOMAIN)
        self.assertEqual({store for store, _ in self.found().values()}, {"root"})
        self.ctl("domain", "rename", DOMAIN, "other.example")
        for name in names:
            self.assertEqual(self.ctl("settings", "get", name.replace(DOMAIN, "other.example"))["values"]["Colour"],
                             "c" + name.split("@")[0])

    def test_a_suspended_account_waits_and_a_full_domain_moves_with_its_files(self):
        names = self.accounts(6)
        self.add("one")
        self.ctl("account", "alias", "set", f"nick@{DOMAIN}", names[1])
        self.ctl("account", "suspend", names[0])
        self.table(f"/ root\nSharedDomains/{DOMAIN} one\n")
        deadline = time.monotonic() + 60
        while self.ctl("relocation", "show", "/")["failed"] != 1 and time.monotonic() < deadline:
            time.sleep(0.2)
        shown = self.ctl("relocation", "show", "/")
        self.assertEqual(shown["failed"], 1, shown)
        self.assertIn("suspended", shown["last_error"])
        self.ctl("account", "resume", names[0])
        self.settled()
        self.assertFalse(os.path.exists(self.base("SharedDomains", DOMAIN)))
        self.stack.stop()
        self.stack.start()
        self.deliver(f"nick@{DOMAIN}", relocation_test.message(1))
        self.assertEqual(len(self.contents(names[1])), 1)
        for name in names:
            self.assertEqual(self.ctl("settings", "get", name)["values"]["Colour"], "c" + name.split("@")[0])


@unittest.skipIf(why_unavailable(), f"NOT TESTED: {why_unavailable()}")
class OverNfs(Recut):
    def setUp(self):
        super().setUp()
        self.servers = {}

    def add(self, name):
        """A store of this name on an NFS server of its own."""
        directory = tempfile.mkdtemp(prefix="canopy-nfs.")
        self.addCleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
        server = self.servers[name] = Ganesha(directory)
        self.addCleanup(server.kill)
        server.start()
        self.ctl("store", "add", name, server.address(), "--new")
        self.stores[name] = server.export

    def test_a_table_cut_for_eight_servers_moves_only_what_changes_its_server(self):
        self.recut()

    def test_to_an_nfs_server_and_back_with_kills(self):
        self.add("nas1")
        names = self.accounts(20)
        clients = self.clients(names, 2, patient=True)
        for client in clients:
            client.start()
        for stores in (["nas1"], ["root", "nas1"], ["nas1", "root"]):
            self.ctl("relocation", "set", "/", "--rate", "20")
            self.table(rows_over(stores))
            time.sleep(1.5)
            self.stack.stop(signal.SIGKILL)
            self.stack.start()
        self.settled()
        self.check_after_kills(clients, names)

    def colour(self, name):
        """Of the account's settings, once its server and its backend are back."""
        deadline = time.monotonic() + 60
        while True:
            done = self.stack.ctl("--json", "settings", "get", name, check=False)
            if done.returncode == 0:
                return json.loads(done.stdout)["values"]["Colour"]
            self.assertLess(time.monotonic(), deadline, done.stderr)
            time.sleep(0.2)

    def test_whoever_is_killed_between_two_servers_every_account_is_whole_at_one_place(self):
        self.add("nas1")
        self.add("nas2")
        names = self.accounts(20)
        self.table(rows_over(["nas1"]))
        self.settled()
        clients = self.clients(names, 2, patient=True)
        for client in clients:
            client.start()
        source, target = "nas1", "nas2"
        for number in range(ROUNDS):
            rng = random.Random(number)
            self.ctl("relocation", "set", "/", "--rate", "20")
            self.table(rows_over([target]))
            time.sleep(rng.uniform(0.3, 2.0))
            victim = (source, target, "canopyd")[number % 3]
            if victim == "canopyd":
                self.stack.stop(signal.SIGKILL)
                self.stack.start()
            else:
                self.servers[victim].kill()
                time.sleep(rng.uniform(0.1, 1.5))
                self.servers[victim].start()
            for name in rng.sample(names, 5):
                self.assertEqual(self.colour(name), "c" + name.split("@")[0])
            source, target = target, source
        self.settled()
        self.assertEqual({store for store, _ in self.found().values()}, {source})
        self.check_after_kills(clients, names)


if __name__ == "__main__":
    unittest.main()
