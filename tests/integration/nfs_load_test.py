"""Six NFS servers and a fast store under LMTP and POP3 load: every account's files lie where they are said to, and nowhere
else, as the servers' own directories show. CANOPY_NFS_ACCOUNTS=10000 CANOPY_NFS_SECONDS=60: at length. CANOPY_NFS_VERSION=4:
the servers are spoken to in that version."""
import json
import os
import sys
import time
import unittest

from mail_load import OK, Group, create_accounts, figures, not_kept
from stack import SOURCE, Stack
from wire import Wire

sys.path.append(os.path.join(SOURCE, "tools"))
from ganesha import why_unavailable  # pylint: disable=wrong-import-position

ACCOUNTS = int(os.environ.get("CANOPY_NFS_ACCOUNTS", "120"))
SECONDS = float(os.environ.get("CANOPY_NFS_SECONDS", "5"))
VERSION = os.environ.get("CANOPY_NFS_VERSION", "3")
SERVERS = 6
PASSWORD = "secret"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def accounts_below(top):
    """{account directory: names of files in it}, and all other files, as paths below `top`."""
    accounts, others = {}, []
    for folder, _, files in os.walk(top):
        path = os.path.relpath(folder, top)
        parts = path.split(os.sep)
        account = next((os.sep.join(parts[:i + 1]) for i, part in enumerate(parts) if part.endswith(".macnt")), None)
        if account is not None:
            accounts.setdefault(account, []).extend(files)
        else:
            others += [os.path.normpath(os.path.join(path, file)) for file in files]
    return accounts, others


@unittest.skipIf(why_unavailable(), f"NOT TESTED: {why_unavailable()}")
class SixServers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(script="tools/cluster.py", options=["--nfs", str(SERVERS), "--fast", "--version", VERSION])
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.start()
        cls.domain = cls.stack.facts["domain"]
        cls.names = [f"{LETTERS[number % len(LETTERS)]}user{number}@{cls.domain}" for number in range(ACCOUNTS)]
        create_accounts(cls.stack, cls.names, PASSWORD)

    def test_every_account_s_files_lie_where_they_are_said_to(self):
        said = {}  # the store of each account, by the table's rows
        rows = json.loads(self.stack.ctl("--json", "mounts", "show").stdout)["rows"]
        for row in rows:
            letters = row["pattern"].rpartition("/")[2]
            if letters.startswith("["):
                said.update((name, row["store"]) for name in self.names if letters[1] <= name[0] <= letters[3])
        self.assertEqual(len(said), ACCOUNTS)
        groups = [Group(self.stack, store, [name for name in self.names if said[name] == store], PASSWORD).start()
                  for store in sorted(set(said.values()))]
        self.assertEqual(len(groups), SERVERS)
        begin = time.monotonic()
        # Each account gets mail and is read, however slow the machine is.
        while time.monotonic() < begin + SECONDS or any(group.count(OK) < 3 * len(group.accounts) for group in groups):
            time.sleep(0.1)
            self.assertLess(time.monotonic(), begin + SECONDS + 60 + ACCOUNTS / 10)
        end = time.monotonic()
        for group in groups:
            group.finish()
            self.assertEqual([request for request in group.requests if request.outcome != OK][:3], [])
            print("{}: {} accounts, {:.0f} requests/s, p99 {:.0f} ms".format(
                group.name, len(group.accounts), *figures(group.requests, begin, end)))
        self.check_places(said)
        for group in groups:
            self.assertEqual(not_kept(self.stack, group), [])

    def check_places(self, said):
        stores = {name: store["export"] for name, store in self.stack.facts["stores"].items()}
        places = {**stores, "fast": self.stack.facts["fast"], "root": self.stack.facts["base"]}
        found = {name: accounts_below(os.path.join(place, "SharedDomains")) for name, place in places.items()}
        expected = {name: set() for name in places}
        small = set()
        wire = self.enterContext(Wire(self.stack.facts["socket"]))
        for name in self.names + [account["name"] for account in self.stack.facts["accounts"]]:
            located = wire.locate(name)
            self.assertEqual((located["store"], located["settings_store"]), (said.get(name, located["store"]), "fast"))
            directory = os.path.relpath(located["account_directory"], "SharedDomains")
            expected[located["store"]].add(directory)
            small.update(os.path.relpath(located[file], "SharedDomains") for file in ("settings_file", "info_file"))
            if name in said:
                self.assertTrue(any(file.endswith(".slice") for file in found[said[name]][0].get(directory, [])), name)
        for store, (accounts, others) in found.items():
            self.assertEqual(set(accounts), expected[store], store)
            self.assertEqual([file for files in accounts.values() for file in files
                              if file.endswith((".settings", ".info"))], [], store)
            if store in stores:
                self.assertEqual(others, [], store)
            if store == "root":
                self.assertEqual([other for other in others if not other.startswith("heartbeat.data")],
                                 [os.path.join(self.domain, "domain.settings")])
        self.assertLessEqual(set(found["fast"][1]), small)
        for name in self.names[:SERVERS]:  # what an administrator is shown is the same
            self.assertLessEqual(wire.locate(name).items(), json.loads(self.stack.ctl("--json", "locate", name).stdout).items())
        self.assertEqual({file for file in small if file.endswith(".settings")},
                         {file for file in found["fast"][1] if file.endswith(".settings")})


if __name__ == "__main__":
    unittest.main()
