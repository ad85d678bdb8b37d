"""canopyctl adopt: trees that lie in a directory already, in several layouts at once, with strange things in them."""
import json
import os
import random
import shutil
import signal
import smtplib
import sys
import tempfile
import unittest

from ctl_case import FAILED, NOT_FOUND, TEMPORARY, USAGE, run_ctl
from mail_case import MailCase
from stack import SOURCE, Stack

sys.path.insert(0, os.path.join(SOURCE, "tests/formats"))
import tree  # noqa: E402

ACCOUNTS = int(os.environ.get("CANOPY_ADOPT_ACCOUNTS", "400"))  # made by a script
REAL = min(ACCOUNTS // 4, 300)  # made by a daemon
LAYOUTS = (("2-1", 0), ("flat", 0), ("hash-1-1", 2), ("1", 0))  # the first one has most
STRAYS = ("SharedDomains/notes.txt", "SharedDomains/lost+found/inode17", "SharedDomains/big.example/README",
          "SharedDomains/big.example/x.sub/core", "SharedDomains/big.example/old/j.sub/lost.macnt/account.settings",
          "SharedDomains/big.example/q.sub/wrong.macnt/account.settings",
          "SharedDomains/big.example/UPPER.macnt/account.settings", "SharedDomains/big.example/a.sub/empty.macnt/",
          "SharedDomains/big.example/fast/g.sub/gone.settings", "SharedDomains/Not.A.Domain/a.macnt/account.settings",
          "SharedDomains/nobody.example/")


def place(domain, name, layout):
    method, index = layout
    return tree.place_of(f"{name}@{domain}", tree.account_directory(f"SharedDomains/{domain}", name, method), index)


def write(base, path, text):
    os.makedirs(os.path.dirname(os.path.join(base, path)), exist_ok=True)
    with open(os.path.join(base, path), "w", encoding="utf-8") as file:
        file.write(text)


def script_account(base, domain, name, layout):
    """An account as a script makes it: a directory, and settings where the layout has them."""
    where = place(domain, name, layout)
    os.makedirs(os.path.join(base, where.directory))
    write(base, where.settings, f"{{Colour=\"c{name}\";}}\n")
    return where


def snapshot(base):
    """Inode and kind of everything below SharedDomains, but for what an adoption may write."""
    found = {}
    for path, folders, files in os.walk(os.path.join(base, "SharedDomains")):
        for name in folders + files:
            if name.startswith("heartbeat.data") or name == "domain.settings":
                continue
            whole = os.path.join(path, name)
            found[os.path.relpath(whole, base)] = os.lstat(whole).st_ino
    return found


class Adopted(MailCase):
    """A tree of a script's accounts and a former Canopy's, adopted and served."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="canopy-adopt.")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.tree = os.path.join(cls.directory, "base")
        cls.layout_of = {}
        cls.make_real_accounts()
        cls.make_script_accounts()
        for path in STRAYS:
            if path.endswith("/"):
                os.makedirs(os.path.join(cls.tree, path))
            else:
                write(cls.tree, path, "{}\n")
        os.symlink("/etc", os.path.join(cls.tree, "SharedDomains/big.example/link"))
        double = place("big.example", "user0", ("2-2", 0)).directory
        os.makedirs(os.path.join(cls.tree, double))
        write(cls.tree, double + "/account.settings", "{Colour=no;}")
        cls.double = double
        cls.stack = None

    @classmethod
    def make_real_accounts(cls):
        """By a daemon whose generation is above that of any new tree; its domains' settings are lost."""
        names = [f"real{i}" for i in range(REAL)]
        cls.mail = {}
        with Stack() as stack:
            for _ in range(2):
                stack.stop(signal.SIGKILL)
                stack.start()
            stack.ctl("domain", "create", "real.example", "--account-foldering", LAYOUTS[0][0])
            stack.ctl("relocation", "set", "real.example", "--rate", "1")
            for number, layout in enumerate(LAYOUTS):
                mine = names[number::len(LAYOUTS)]
                if number != 0:
                    stack.ctl("domain", "set", "real.example", f"Foldering={layout[0]}", f"FastIndex=#{layout[1]}")
                    stack.ctl("relocation", "pause", "real.example")
                rows = "name,password,settings\n" + "".join(f"{name},secret,{{Colour=c{name};}}\n" for name in mine)
                write(stack.directory, "rows.csv", rows)
                stack.ctl("account", "create", "--from-csv", stack.directory + "/rows.csv", "--domain", "real.example")
                with smtplib.LMTP(*stack.address("lmtp")) as client:
                    for name in mine[:5]:
                        cls.mail[name] = f"Subject: for {name}\r\n\r\nbody\r\n"
                        client.sendmail("a@example.org", [name + "@real.example"], cls.mail[name])
            stack.stop()
            shutil.copytree(stack.facts["base"] + "/SharedDomains/real.example", cls.tree + "/SharedDomains/real.example")
        os.remove(cls.tree + "/SharedDomains/real.example/domain.settings")
        cls.names = [name + "@real.example" for name in names]

    @classmethod
    def make_script_accounts(cls):
        for i in range(ACCOUNTS):
            layout = LAYOUTS[0] if i % 2 else LAYOUTS[i // 2 % len(LAYOUTS)]
            name = f"{random.Random(i).choice('abcxyzäß7')}person{i}" if i else "user0"
            script_account(cls.tree, "big.example", name, layout)
            cls.layout_of[name] = layout
            cls.names.append(name + "@big.example")
        script_account(cls.tree, "small.example", "only", ("2-2", 0))
        cls.names.append("only@small.example")

    def adopt(self, *options):
        done = run_ctl("--json", "adopt", self.tree, *options, seconds=120 + ACCOUNTS / 50)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def found(self, domain):
        found = {}
        for path, folders, _ in os.walk(os.path.join(self.tree, "SharedDomains", domain)):
            for folder in [one for one in folders if one.endswith(".macnt")]:
                found.setdefault(folder.removesuffix(".macnt"), []).append(os.path.relpath(os.path.join(path, folder), self.tree))
                folders.remove(folder)
        return found

    def check_planned(self, planned):
        domains = {domain["name"]: domain for domain in planned["domains"]}
        self.assertEqual(sorted(domains), ["big.example", "real.example", "small.example"])
        self.assertEqual(planned["accounts"], len(self.names))
        for name, count in (("big.example", ACCOUNTS), ("real.example", REAL), ("small.example", 1)):
            self.assertEqual(domains[name]["accounts"], count)
            self.assertEqual(sum(layout["accounts"] for layout in domains[name]["layouts"]), count)
        self.assertEqual(domains["small.example"]["layouts"][0]["account_foldering"], "2-2")
        first = domains["big.example"]["layouts"][0]
        self.assertEqual((first["account_foldering"], first["fast_index"]), LAYOUTS[0])
        for domain in ("big.example", "real.example"):
            layouts = {(layout["account_foldering"], layout["fast_index"]) for layout in domains[domain]["layouts"]}
            self.assertEqual(layouts - {("2-2", 0)}, set(LAYOUTS))
        listed = {finding["path"] for finding in planned["not_understood"]}
        self.assertEqual(listed, {
            "SharedDomains/notes.txt", "SharedDomains/lost+found", "SharedDomains/big.example/README",
            "SharedDomains/big.example/x.sub/core", "SharedDomains/big.example/old",
            "SharedDomains/big.example/old/j.sub/lost.macnt", "SharedDomains/big.example/q.sub/wrong.macnt",
            "SharedDomains/big.example/UPPER.macnt", "SharedDomains/big.example/a.sub/empty.macnt",
            "SharedDomains/big.example/fast/g.sub/gone.settings", "SharedDomains/Not.A.Domain",
            "SharedDomains/nobody.example", "SharedDomains/big.example/link", self.double})

    def test_all_are_found_none_is_moved_and_then_they_go_into_one_layout(self):
        before = snapshot(self.tree)
        planned = self.adopt()
        self.check_planned(planned)
        self.assertFalse(planned["applied"])
        self.assertEqual(snapshot(self.tree), before)
        self.assertFalse(os.path.exists(self.tree + "/.canopy"))
        self.assertFalse(os.path.exists(self.tree + "/SharedDomains/big.example/domain.settings"))
        self.check_planned(self.adopt("--apply"))
        self.assertEqual(snapshot(self.tree), before)
        again = self.adopt()
        self.assertEqual({domain["settings"] for domain in again["domains"]}, {"kept"})

        type(self).stack = Stack(self.directory)
        self.stack.start()
        self.addCleanup(self.stack.stop)
        self.assertEqual(run_ctl("adopt", self.tree).returncode, TEMPORARY)
        self.check_served()
        after = snapshot(self.tree)
        moved = {path for path, inode in before.items() if after.get(path) != inode}
        # What the accounts that got mail have written anew is theirs.
        self.assertEqual({path for path in moved if path.endswith((".macnt", ".settings")) and path != self.double}, set())

        shutil.rmtree(os.path.join(self.tree, self.double))  # as its finding says, somebody has to choose
        for domain in ("big.example", "real.example", "small.example"):
            self.ctl("domain", "set", domain, "Foldering=1-1", "FastIndex=#0")
            # One that was not mixed is not paused, and may have ended by now.
            resumed = self.stack.ctl("relocation", "resume", domain, check=False)
            self.assertIn(resumed.returncode, (0, NOT_FOUND) if domain == "small.example" else (0,), resumed.stderr)
            shown = json.loads(self.stack.ctl("--json", "relocation", "show", domain, "--wait").stdout)
            self.assertEqual(shown["state"], "finished", shown)
        self.check_served()
        for address in self.names:
            name, domain = address.split("@")
            self.assertTrue(os.path.isdir(os.path.join(self.tree, place(domain, name, ("1-1", 0)).directory)), address)
        for path in STRAYS:
            if "/fast/" not in path and "empty" not in path:
                self.assertTrue(os.path.exists(os.path.join(self.tree, path)), path)
        self.assertEqual(self.ctl("check", "real.example")["damages"], [])

    def check_served(self):
        for domain in ("big.example", "real.example", "small.example"):
            listed = {row["name"] if isinstance(row, dict) else row for row in self.ctl("account", "list", domain)}
            wanted = {name for name in self.names if name.endswith("@" + domain)}
            # A listing shows every directory of that kind, also what nobody can open.
            self.assertLessEqual({name if "@" in name else f"{name}@{domain}" for name in listed} - wanted,
                                 {"empty@big.example", "wrong@big.example"})
            self.assertEqual(wanted - {name if "@" in name else f"{name}@{domain}" for name in listed}, set())
        for address in random.sample(self.names, min(len(self.names), 100)):
            self.assertEqual(self.ctl("settings", "get", address)["values"]["Colour"], "c" + address.split("@")[0])
        for name, text in self.mail.items():
            contents = self.contents(name + "@real.example")
            self.assertTrue(any(one.decode().endswith(text) for one in contents), name)
        for name in list(self.mail)[:4]:  # its log goes on under this daemon's epoch
            self.deliver(name + "@real.example", "Subject: new\r\n\r\nnew\r\n")
        self.deliver("only@small.example", "Subject: first\r\n\r\nfirst\r\n")


class Small(unittest.TestCase):
    def setUp(self):
        self.tree = tempfile.mkdtemp(prefix="canopy-adopt.")
        self.addCleanup(shutil.rmtree, self.tree, ignore_errors=True)

    def adopt(self, *options, status=0):
        done = run_ctl("--json", "adopt", self.tree, *options)
        self.assertEqual(done.returncode, status, done.stderr)
        return json.loads(done.stdout if status == 0 else done.stderr)

    def test_what_is_said_counts_before_what_most_accounts_have(self):
        for i in range(10):
            script_account(self.tree, "a.example", f"user{i}", ("1", 0))
        script_account(self.tree, "a.example", "last", ("2-2", 2))
        layouts = self.adopt()["domains"][0]["layouts"]
        self.assertEqual([(one["account_foldering"], one["fast_index"], one["accounts"]) for one in layouts],
                         [("1", 0, 10), ("2-2", 2, 1)])
        layouts = self.adopt("--layout", "a.example=hash-2,1")["domains"][0]["layouts"]
        self.assertEqual([(one["account_foldering"], one["fast_index"], one["accounts"]) for one in layouts],
                         [("hash-2", 1, 0), ("1", 0, 10), ("2-2", 2, 1)])
        write(self.tree, "SharedDomains/a.example/domain.settings", "{Foldering=2-2;FastIndex=#2;Mine=x;}")
        adopted = self.adopt("--apply")["domains"][0]
        self.assertEqual([one["account_foldering"] for one in adopted["layouts"]], ["2-2", "1"])
        with open(self.tree + "/SharedDomains/a.example/domain.settings", encoding="utf-8") as file:
            text = file.read()
        self.assertIn("Mine = x;", text)
        self.assertIn("SupersededLayouts", text)
        self.assertIn("Paused = YES", text)
        self.assertEqual(self.adopt("--layout", "b.example=1", status=NOT_FOUND)["error"]["object"], "b.example")
        self.assertEqual(self.adopt("--layout", "a.example", status=FAILED)["error"]["object"], "a.example")
        self.assertEqual(self.adopt("--layout", "a.example=1,7,8", status=FAILED)["error"]["name"], "invalid-argument")

    def test_domain_folders_are_made_out_too(self):
        for domain in ("c.sub/company.com", "o.sub/other.example"):
            os.makedirs(f"{self.tree}/SharedDomains/{domain}/a.sub/anna.macnt")
            write(self.tree, f"SharedDomains/{domain}/a.sub/anna.macnt/account.settings", "{}")
        write(self.tree, "SharedDomains/fast/c.sub/company.com/a.sub/bert.settings", "{}")
        found = self.adopt("--apply")
        self.assertEqual((found["domain_foldering"], [one["directory"] for one in found["domains"]]),
                         ("1", ["SharedDomains/c.sub/company.com", "SharedDomains/o.sub/other.example"]))
        self.assertEqual([finding["path"] for finding in found["not_understood"]],
                         ["SharedDomains/fast/c.sub/company.com/a.sub/bert.settings"])
        with open(self.tree + "/Settings/Tree.settings", encoding="utf-8") as file:
            self.assertIn("DomainFoldering = 1", file.read())

    def test_damaged_settings_and_other_directories_are_refused_or_listed(self):
        self.assertEqual(self.adopt(status=NOT_FOUND)["error"]["name"], "not-found")
        self.assertEqual(run_ctl("adopt").returncode, USAGE)
        script_account(self.tree, "a.example", "anna", ("1", 0))
        write(self.tree, "SharedDomains/a.example/a.sub/anna.macnt/account.settings", "{half")
        write(self.tree, "SharedDomains/b.example/domain.settings", "{Foldering=9;}")
        write(self.tree, "SharedDomains/c.example/domain.settings", "}")
        found = self.adopt("--apply")
        self.assertEqual([one["name"] for one in found["domains"]], ["a.example"])
        self.assertEqual([finding["path"] for finding in found["not_understood"]],
                         ["SharedDomains/a.example/a.sub/anna.macnt/account.settings",
                          "SharedDomains/b.example/domain.settings", "SharedDomains/c.example/domain.settings"])
        with open(self.tree + "/SharedDomains/c.example/domain.settings", encoding="utf-8") as file:
            self.assertEqual(file.read(), "}")
        write(self.tree, "Settings/Tree.settings", "{")
        self.adopt(status=FAILED)


if __name__ == "__main__":
    unittest.main()
