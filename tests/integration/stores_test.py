"""One tree on several stores: mail lies where the mount table and `locate` say."""
import json
import os
import re
import shutil
import smtplib
import tempfile
import threading
import time
import unittest
import uuid

from stack import Stack
from thin_line_test import deliver
from wire import Wire

LETTERS = ("abby", "dora", "emil", "hugo", "xena")


def write_marker(directory, name):
    """A store as `canopyctl store add` leaves it; answers its id."""
    identity = str(uuid.uuid4())
    os.makedirs(os.path.join(directory, ".canopy"))
    with open(os.path.join(directory, ".canopy/store"), "w", encoding="utf-8") as marker:
        marker.write(f'{{Id="{identity}";Name="{name}";Serves="accounts";Version=#1;}}\n')
    return identity


def write_settings(base, stores, rows):
    """Settings of a daemon that does not run: stores by name as (directory, id), rows as text."""
    with open(os.path.join(base, "Settings/Stores.settings"), "w", encoding="utf-8") as file:
        body = "".join(f'"{name}"={{Address="dir:{directory}";Id="{identity}";}};'
                       for name, (directory, identity) in stores.items())
        file.write("{" + body + "}\n")
    with open(os.path.join(base, "Settings/Mounts.settings"), "w", encoding="utf-8") as file:
        file.write("{Rows=(" + ",".join(f'"{row}"' for row in rows) + ");}\n")


def files_with(directory, text):
    """Paths below `directory` of the files that hold `text`."""
    found = []
    for folder, _, files in os.walk(directory):
        for file in files:
            with open(os.path.join(folder, file), "rb") as opened:
                if text in opened.read():
                    found.append(os.path.relpath(os.path.join(folder, file), directory))
    return found


class TwoStores(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.__exit__)
        self.stack.start()
        self.base = self.stack.facts["base"]
        self.stack.ctl("domain", "create", "many.example", "--account-foldering", "1")
        self.stack.stop()
        self.stores = {}
        for name in ("one", "two"):
            directory = tempfile.mkdtemp(prefix="canopy-store.")
            self.addCleanup(lambda path=directory: shutil.rmtree(path, ignore_errors=True))
            self.stores[name] = (directory, write_marker(directory, name))
        write_settings(self.base, self.stores, ["/ root", "SharedDomains/many.example/[a-d].sub one",
                                                "SharedDomains/many.example/[e-h].sub two export"])
        self.stack.start()

    def where(self, name):
        location = json.loads(self.stack.ctl("--json", "locate", name).stdout)
        return location["store"], location

    def roots(self):
        return {"root": self.base, "one": self.stores["one"][0], "two": os.path.join(self.stores["two"][0], "export")}

    def test_files_lie_where_the_table_says(self):
        for name in LETTERS:
            self.stack.ctl("account", "create", "--no-password", name + "@many.example")
        expected = dict(zip(LETTERS, ("one", "one", "two", "two", "root")))
        for name, store in expected.items():
            text = f"Only {name} gets this."
            deliver(self.stack, [name + "@many.example"], f"Subject: x\r\n\r\n{text}\r\n")
            said, location = self.where(name + "@many.example")
            self.assertEqual(said, store)
            for other, root in self.roots().items():
                found = files_with(os.path.join(root, "SharedDomains"), text.encode())
                if other == store:
                    self.assertEqual(len(found), 1)
                    self.assertTrue(found[0].startswith(f"many.example/{name[0]}.sub/{name}.macnt/"), found)
                    self.assertTrue(location["files"])
                else:
                    self.assertEqual(found, [])
        listed = self.stack.ctl("account", "list", "many.example").stdout.split()
        self.assertEqual(sorted(word.split("@")[0] for word in listed if word.split("@")[0] in LETTERS), sorted(LETTERS))

    def test_an_account_stays_whole_through_restarts_renames_and_removal(self):
        for name in ("abby", "emil"):
            self.stack.ctl("account", "create", "--no-password", name + "@many.example")
            deliver(self.stack, [name + "@many.example"])
        for name, new, store in (("abby", "ella", "two"), ("ella", "bert", "one")):
            self.stack.ctl("account", "rename", name + "@many.example", new + "@many.example")
            self.stack.ctl("relocation", "show", "/", "--wait")
            self.assertEqual(self.where(new + "@many.example")[0], store)
            held = {other: files_with(os.path.join(root, "SharedDomains"), b"Hello") for other, root in self.roots().items()}
            self.assertEqual(sum(f"/{new}.macnt/" in path for path in held[store]), 1, held)
            self.assertEqual([path for paths in held.values() for path in paths if f"/{name}.macnt/" in path], [], held)
        self.stack.stop()
        self.stack.start()
        self.assertEqual(self.where("bert@many.example")[0], "one")
        self.stack.ctl("account", "delete", "emil@many.example")
        self.assertEqual(files_with(os.path.join(self.roots()["two"], "SharedDomains"), b"Hello"), [])
        self.stack.ctl("domain", "delete", "many.example", "--recursive")
        for root in self.roots().values():
            self.assertFalse(os.path.exists(os.path.join(root, "SharedDomains/many.example")), root)

    def test_a_store_that_is_away_takes_its_own_accounts_only_and_comes_back(self):
        for name in ("abby", "emil"):
            self.stack.ctl("account", "create", "--no-password", name + "@many.example")
        self.stack.stop()
        directory = self.stores["one"][0]
        os.rename(directory, directory + ".away")
        os.mkdir(directory)  # the mount point of what is not mounted
        self.stack.start()
        try:
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
                deliver(self.stack, ["abby@many.example"])
            self.assertEqual(refused.exception.recipients["abby@many.example"][0], 451)
            shown = self.stack.ctl("account", "show", "abby@many.example", check=False)
            self.assertEqual(shown.returncode, 4)
            self.assertIn("store one unavailable", shown.stderr)
            self.assertEqual(deliver(self.stack, ["emil@many.example"]), {})
            self.assertEqual(os.listdir(directory), [])  # nothing was made on what is not the store
        finally:
            os.rmdir(directory)
            os.rename(directory + ".away", directory)
        for _ in range(100):
            try:
                deliver(self.stack, ["abby@many.example"])
                break
            except smtplib.SMTPException:
                time.sleep(0.1)
        self.assertEqual(len(files_with(os.path.join(directory, "SharedDomains"), b"Hello from LMTP")), 1)


class Commands(unittest.TestCase):
    """Stores and rows that come and go while the daemon runs."""

    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.__exit__)
        self.stack.start()
        self.base = self.stack.facts["base"]
        self.work = tempfile.mkdtemp(prefix="canopy-stores.")
        self.addCleanup(lambda: shutil.rmtree(self.work, ignore_errors=True))

    def directory(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return path

    def json(self, *arguments, **more):
        return json.loads(self.stack.ctl("--json", *arguments, **more).stdout)

    def refused(self, status, text, *arguments, **more):
        done = self.stack.ctl(*arguments, check=False, **more)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertIn(text, done.stderr)

    def add(self, name, *more):
        return self.json("store", "add", name, "dir:" + self.directory(name), "--allow-same-device", "--new", *more)

    def mounts(self, *rows):
        return self.json("mounts", "set", "-", stdin="".join(row + "\n" for row in rows))

    def deliver_to(self, name):
        self.assertEqual(deliver(self.stack, [name]), {})

    def test_what_is_no_store_is_refused_and_left_alone(self):
        empty = self.directory("empty")
        self.refused(1, "nothing is mounted there", "store", "add", "x", "dir:" + empty, "--new")
        self.refused(1, "is it mounted?", "store", "add", "x", "dir:" + empty, "--allow-same-device")
        self.refused(3, empty + "/none", "store", "add", "x", "dir:" + empty + "/none", "--allow-same-device")
        self.assertEqual(os.listdir(empty), [])
        self.add("disk1")
        self.refused(1, "there is such a store", "store", "add", "disk1", "dir:" + empty, "--allow-same-device", "--new")
        self.refused(1, "marked as store disk1", "store", "add", "disk2", "dir:" + self.directory("disk1"),
                     "--allow-same-device")
        self.refused(1, "root", "store", "add", "disk2", "dir:" + self.base, "--allow-same-device")
        full = self.directory("full")
        with open(os.path.join(full, "photo"), "w", encoding="utf-8"):
            pass
        self.refused(1, "photo", "store", "add", "x", "dir:" + full, "--allow-same-device", "--new")
        self.refused(1, "no marker", "store", "add", "x", "dir:" + full, "--allow-same-device")
        self.refused(1, "names a store that is not there", "mounts", "set", "-", stdin="/ root\nSharedDomains/a nowhere\n")
        self.refused(1, "cannot be drained", "store", "drain", "root")
        self.refused(3, "no such store", "store", "drain", "nowhere")

    def test_stores_come_and_go_while_mail_flows(self):
        self.stack.ctl("domain", "create", "many.example", "--account-foldering", "1")
        for name in ("abby", "emil"):
            self.stack.ctl("account", "create", "--no-password", name + "@many.example")
            self.deliver_to(name + "@many.example")
        for name in ("disk1", "disk2"):
            self.assertEqual(self.add(name)["state"], "up")
        found = self.json("store", "check", "disk1", check=False)["verdicts"]
        self.assertEqual([verdict for verdict in found
                          if not verdict["good"] and verdict["requirement"] != "millions of small files"], [])
        self.assertEqual(len(self.json("store", "bench", "disk1")["rows"]), 8)
        hour = (time.gmtime().tm_hour + 12) % 24  # nothing moves for now
        self.json("relocation", "set", "/", "--window", f"{hour:02}:00-{(hour + 1) % 24:02}:00")
        self.mounts("/ root", "SharedDomains/many.example/[a-d].sub disk1")
        for name in ("abby", "bert", "emil"):
            self.stack.ctl("account", "create", "--no-password", "--exist-ok", name + "@many.example")
            self.deliver_to(name + "@many.example")
        where = {name: self.json("locate", name + "@many.example")["store"] for name in ("abby", "bert", "emil")}
        self.assertEqual(where, {"abby": "root", "bert": "disk1", "emil": "root"})
        shown = self.json("mounts", "show", "--moves")
        self.assertEqual([(move["account"], move["from"], move["to"]) for move in shown["moves"]],
                         [("abby@many.example", "root", "disk1")])
        self.assertEqual(shown["accounts"], {"root": 4, "disk1": 1})  # with the two that the stack made
        planned = self.json("mounts", "plan", "many.example")
        self.assertEqual(len(planned["rows"]), 3)
        self.assertEqual(planned["removed"], ["SharedDomains/many.example/[a-d].sub disk1"])
        self.assertEqual(sorted(["/ root", *planned["added"]]), sorted(planned["rows"]))
        lines = self.stack.ctl("mounts", "plan", "many.example").stdout.splitlines()
        self.assertEqual([line for line in lines if not line.startswith("#")],
                         ["- " + row for row in planned["removed"]] + ["+ " + row for row in planned["added"]])
        self.assertEqual(sum(share["accounts"] for share in self.json("mounts", "plan", "many.example", "--load")["shares"]), 3)
        self.mounts("/ root", "SharedDomains/many.example/[a-d].sub disk2")
        self.refused(1, "still lie on it", "store", "remove", "disk1")
        self.refused(1, "leads to it", "store", "remove", "disk2")
        self.stack.stop()
        self.stack.start()
        for name in where:
            self.deliver_to(name + "@many.example")
            self.assertEqual(self.json("locate", name + "@many.example")["store"], where[name])
        self.stack.ctl("account", "delete", "bert@many.example")
        for _ in range(50):  # what was deleted goes in the background
            done = self.stack.ctl("store", "remove", "disk1", check=False)
            if done.returncode == 0:
                break
            time.sleep(0.1)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([store["name"] for store in self.json("store", "list")], ["root", "disk2"])
        self.json("store", "add", "disk1", "dir:" + self.directory("disk1"), "--allow-same-device")

    def test_the_table_and_the_status_show_how_full_and_busy_each_store_is(self):
        self.add("disk1")
        self.mounts("/ root", "SharedDomains/many.example disk1")
        shown, listed = self.json("mounts", "show")["stores"], self.json("store", "list")
        self.assertEqual([sorted(store) for store in shown], [sorted(store) for store in listed])
        self.assertEqual([(store["name"], store["state"]) for store in shown], [("root", "up"), ("disk1", "up")])
        for store in shown:
            self.assertEqual(store["bytes_total"], os.statvfs(self.work).f_blocks * os.statvfs(self.work).f_frsize)
            self.assertGreater(store["bytes_free"], 0)
            self.assertGreater(store["latency_p99_us"], 0)
            self.assertEqual((store["in_flight"], store["errors"]), (0, 0))
        figures = r"up, \S+ [KMGT]iB of \S+ [KMGT]iB free, \d+ under way, 0 failed, p99 below \d+ us"
        text = self.stack.ctl("mounts", "show").stdout
        status = self.stack.ctl("status").stdout
        for name in ("root", "disk1"):
            self.assertRegex(text, rf"(?m)^# store {name}: {figures}$")
            self.assertRegex(status, rf"(?m)^  store {name} +local {figures}$")
        version = self.json("mounts", "show")["version"]
        self.stack.ctl("mounts", "set", "-", stdin=text)  # what is shown is a table
        self.assertEqual(self.json("mounts", "show")["version"], version)

    def metrics(self):
        """The stores' of the snapshot: names with their types, and values by name and labels."""
        with Wire(self.stack.facts["socket"]) as wire:
            text = wire.call("Cluster.Metrics", {})[1][0].decode()
        types = dict(re.findall(r"(?m)^# TYPE (canopy_store_\w+) (\w+)$", text))
        self.assertEqual(sorted(re.findall(r"(?m)^# HELP (canopy_store_\w+) \S", text)), sorted(types))
        values = {}
        for name, labels, value in re.findall(r"(?m)^(canopy_store_\w+)\{(.*)\} (\S+)$", text):
            values.setdefault(name, {})[tuple(re.findall(r'(\w+)="([^"]*)"', labels))] = float(value)
        return types, values

    def test_the_metrics_say_how_each_store_is(self):
        self.add("disk1")
        types, values = self.metrics()
        self.assertEqual(types, {
            "canopy_store_up": "gauge", "canopy_store_bytes_total": "gauge", "canopy_store_bytes_free": "gauge",
            "canopy_store_in_flight": "gauge", "canopy_store_errors_total": "counter", "canopy_store_seconds": "histogram"})
        self.assertEqual(sorted(values), sorted(
            [name for name in types if name != "canopy_store_seconds"] +
            ["canopy_store_seconds_bucket", "canopy_store_seconds_count", "canopy_store_seconds_sum"]))
        root, disk1 = (("store", "root"),), (("store", "disk1"),)
        for name in values:
            if name != "canopy_store_seconds_bucket":
                self.assertEqual(set(values[name]), {root, disk1}, name)
        for store in (root, disk1):
            self.assertEqual(values["canopy_store_up"][store], 1)
            self.assertGreater(values["canopy_store_bytes_total"][store], values["canopy_store_bytes_free"][store])
            buckets = [(float(labels[1][1]), value) for labels, value in values["canopy_store_seconds_bucket"].items()
                       if labels[:1] == store]
            self.assertEqual(buckets, sorted(buckets))
            counts = [value for _, value in buckets]
            self.assertEqual(counts, sorted(counts))
            self.assertEqual(buckets[-1], (float("inf"), values["canopy_store_seconds_count"][store]))
            # Each took less than its bucket's bound, and at least half of it but in the first one.
            spent = sum((count - below) * bound for (bound, count), below in zip(buckets[:-1], [0, *counts]))
            self.assertLess(values["canopy_store_seconds_sum"][store], spent)
            self.assertGreater(values["canopy_store_seconds_sum"][store], 0)
        self.assertEqual(values["canopy_store_errors_total"][disk1], 0)
        marker = self.marker("disk1")
        self.set_marker("disk1", marker.replace("disk1", "disk2"))  # it fails its probe
        self.until(lambda: self.metrics()[1]["canopy_store_up"][disk1] == 0)
        values = self.metrics()[1]
        self.assertGreater(values["canopy_store_errors_total"][disk1], 0)
        self.assertEqual((values["canopy_store_up"][root], values["canopy_store_errors_total"][root]), (1, 0))
        self.set_marker("disk1", marker)
        self.until(lambda: self.metrics()[1]["canopy_store_up"][disk1] == 1)

    def until(self, holds):
        end = time.monotonic() + 60  # a generous bound
        while not holds():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)

    def test_the_table_changes_many_times_under_load_without_an_error(self):
        changes = int(os.environ.get("CANOPY_TABLE_CHANGES", "20"))
        self.stack.ctl("domain", "create", "many.example", "--account-foldering", "1")
        for name in ("disk1", "disk2"):
            self.add(name)
        errors, over = [], threading.Event()

        def load(user):
            try:
                for i in range(1_000_000):
                    if over.is_set():
                        return
                    name = f"{'adeh'[i % 4]}{user}-{i}@many.example"
                    self.stack.ctl("account", "create", "--no-password", name)
                    self.deliver_to(name)
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)
        users = [threading.Thread(target=load, args=(user,)) for user in range(3)]
        for user in users:
            user.start()
        for i in range(changes):
            self.mounts("/ root", "SharedDomains/many.example/[a-d].sub " + ("root", "disk1", "disk2")[i % 3],
                        "SharedDomains/many.example/[e-h].sub " + ("disk1", "disk2")[i % 2])
        over.set()
        for user in users:
            user.join()
        self.assertEqual(errors, [])
        listed = self.stack.ctl("account", "list", "many.example").stdout.split()
        self.assertGreater(len(listed), 3)
        for name in listed:
            self.json("locate", name if "@" in name else name + "@many.example")

    def removed_soon(self, name):
        for _ in range(50):  # what was deleted goes in the background
            done = self.stack.ctl("store", "remove", name, check=False)
            if done.returncode == 0:
                return
            time.sleep(0.1)
        self.fail(done.stderr)

    def marker(self, name):
        with open(os.path.join(self.directory(name), ".canopy/store"), encoding="utf-8") as file:
            return file.read()

    def set_marker(self, name, text):
        with open(os.path.join(self.directory(name), ".canopy/store"), "w", encoding="utf-8") as file:
            file.write(text)

    def test_a_store_of_another_tree_is_refused_also_of_the_same_name(self):
        again = ("store", "add", "disk1", "dir:" + self.directory("disk1"), "--allow-same-device")
        self.add("disk1")
        with open(os.path.join(self.base, ".canopy/store"), encoding="utf-8") as file:
            tree = re.search('Id="?([^";]*)', file.read()).group(1)
        ours = self.marker("disk1")
        self.assertIn(tree, ours)
        self.stack.ctl("store", "remove", "disk1")
        self.set_marker("disk1", ours.replace(tree, str(uuid.uuid4())))
        for _ in range(100):  # what was removed may still be ended
            if self.stack.ctl(*again, check=False).returncode != 4:
                break
            time.sleep(0.1)
        self.refused(1, "another tree", *again)
        earlier = re.sub("Tree=[^;]*;", "", ours)
        self.assertNotIn("Tree", earlier)
        self.set_marker("disk1", earlier)  # as an earlier version made it
        self.json(*again)
        self.assertEqual(self.marker("disk1"), ours)
        self.stack.stop()
        self.set_marker("disk1", earlier)
        self.stack.start()
        self.assertEqual(self.marker("disk1"), ours)

    def test_what_is_open_on_a_store_goes_on_at_its_new_address(self):
        self.stack.ctl("domain", "create", "many.example")
        self.add("disk1")
        self.mounts("/ root", "SharedDomains/many.example disk1")
        self.stack.ctl("account", "create", "--no-password", "abby@many.example")
        self.deliver_to("abby@many.example")
        shutil.copytree(self.directory("disk1"), self.work + "/moved")
        self.json("store", "set", "disk1", "--address", "dir:" + self.work + "/moved")
        for _ in range(100):
            try:
                self.deliver_to("abby@many.example")
                break
            except smtplib.SMTPException:
                time.sleep(0.1)
        hello = b"Hello from LMTP"
        sizes = {name: sum(self.bytes_of(name, path).count(hello) for path in files_with(os.path.join(self.work, name), hello))
                 for name in ("disk1", "moved")}
        self.assertEqual(sizes, {"disk1": 1, "moved": 2})

    def bytes_of(self, name, path):
        with open(os.path.join(self.work, name, path), "rb") as file:
            return file.read()

    def test_a_store_is_removed_with_all_that_names_it_or_not_at_all(self):
        self.stack.ctl("domain", "create", "many.example", "--account-foldering", "1")
        hour = (time.gmtime().tm_hour + 12) % 24  # nothing moves for now
        self.json("relocation", "set", "/", "--window", f"{hour:02}:00-{(hour + 1) % 24:02}:00")
        for name in ("disk1", "disk2"):
            self.add(name)
        self.stack.ctl("account", "create", "--no-password", "emil@many.example")
        self.mounts("/ root", "SharedDomains/many.example/[a-d].sub disk1")
        self.stack.ctl("account", "create", "--no-password", "abby@many.example")
        self.mounts("/ root", "SharedDomains/many.example/[a-d].sub disk2")
        self.stack.ctl("account", "delete", "abby@many.example")
        self.assertIn("disk1", str(self.json("mounts", "show")["superseded"]))
        table = os.path.join(self.base, "Settings/Mounts.settings")
        os.rename(table, table + ".kept")
        os.makedirs(table + "/in the way")
        for _ in range(20):
            self.assertNotEqual(self.stack.ctl("store", "remove", "disk1", check=False).returncode, 0)
            time.sleep(0.1)
        self.stack.stop()
        shutil.rmtree(table)
        os.rename(table + ".kept", table)
        self.stack.start()
        self.deliver_to("emil@many.example")
        self.removed_soon("disk1")
        self.stack.stop()
        self.stack.start()
        self.assertEqual([store["name"] for store in self.json("store", "list")], ["root", "disk2"])

    def test_settings_on_a_fast_store_that_is_away_take_their_domain_only(self):
        self.add("fast", "--role", "fast")
        self.mounts("/ root", "SharedDomains/quick.example/fast fast")
        self.stack.ctl("domain", "create", "quick.example", "--account-foldering", "1", "--fast-index", "2")
        self.stack.ctl("account", "create", "--no-password", "abby@quick.example")
        self.deliver_to("abby@quick.example")
        located = self.json("locate", "abby@quick.example")
        self.assertEqual((located["store"], located["settings_store"]), ("root", "fast"))
        self.assertTrue(os.path.exists(os.path.join(self.work, "fast", located["settings_file"])))
        self.assertFalse(os.path.exists(os.path.join(self.base, located["settings_file"])))
        self.stack.stop()
        os.rename(self.directory("fast"), self.work + "/away")
        self.stack.start()
        try:
            self.refused(4, "store fast unavailable", "account", "show", "abby@quick.example")
            self.deliver_to(self.stack.account(0)[0])
            states = {store["name"]: store["state"] for store in self.json("status")["stores"]}
            self.assertEqual(states, {"root": "up", "fast": "down"})
        finally:
            os.rename(self.work + "/away", self.work + "/fast")
        for _ in range(100):
            if self.json("store", "show", "fast")["state"] == "up":
                break
            time.sleep(0.1)
        self.deliver_to("abby@quick.example")


if __name__ == "__main__":
    unittest.main()
