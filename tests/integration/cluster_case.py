"""What the tests of one tree on several NFS servers share: the system, load on each server's accounts, and what lies in the
servers' own directories."""
import json
import os
import sys
import time
import unittest

from mail_load import OK, Group, create_accounts
from stack import SOURCE, Stack

sys.path.append(os.path.join(SOURCE, "tools"))
from ganesha import why_unavailable  # pylint: disable=wrong-import-position

VERSION = os.environ.get("CANOPY_NFS_VERSION", "3")
PASSWORD = "secret"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def accounts_below(top):
    """{account directory: {file in it: bytes}}, and all other files, as paths below `top`."""
    accounts, others = {}, []
    for folder, _, files in os.walk(top):
        path = os.path.relpath(folder, top)
        parts = path.split(os.sep)
        account = next((os.sep.join(parts[:i + 1]) for i, part in enumerate(parts) if part.endswith(".macnt")), None)
        if account is None:
            others += [os.path.normpath(os.path.join(path, file)) for file in files]
            continue
        sizes = accounts.setdefault(account, {})
        for file in files:
            try:
                sizes[os.path.relpath(os.path.join(path, file), account)] = os.path.getsize(os.path.join(folder, file))
            except FileNotFoundError:  # replaced just now
                pass
    return accounts, others


@unittest.skipIf(why_unavailable(), f"NOT TESTED: {why_unavailable()}")
class ClusterCase(unittest.TestCase):
    """`servers` of them, and what else tools/cluster.py is told."""
    servers, options = 6, ()

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(script="tools/cluster.py", options=["--nfs", str(cls.servers), "--version", VERSION, *cls.options])
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.start()
        cls.domain = cls.stack.facts["domain"]

    def ctl(self, *arguments, stdin=None):
        return json.loads(self.stack.ctl("--json", *arguments, stdin=stdin).stdout)

    def create(self, names):
        create_accounts(self.stack, names, PASSWORD)

    def places(self):
        """The directory of each store."""
        stores = {name: store["export"] for name, store in self.stack.facts["stores"].items()}
        fast = {"fast": self.stack.facts["fast"]} if "fast" in self.stack.facts else {}
        return {**stores, **fast, "root": self.stack.facts["base"]}

    def said(self, names):
        """The store of each account, by the rows of the mount table."""
        said = {}
        for row in self.ctl("mounts", "show")["rows"]:
            folder = row["pattern"].rpartition("/")[2]
            if not folder.endswith(".sub"):
                continue
            letters = folder.removesuffix(".sub").strip("[]")
            first, last = letters[0], letters[-1]
            said.update((name, row["store"]) for name in names if first <= name[0] <= last)
        return said

    def groups(self, said, **more):
        """Load on the accounts of each store."""
        return [Group(self.stack, store, [name for name in said if said[name] == store], PASSWORD, **more)
                for store in sorted(set(said.values()))]

    def load(self, groups, seconds, times):
        """Waits for so long, and until each account has had so many requests answered, however slow the machine is."""
        begun, before = time.monotonic(), [group.count(OK) for group in groups]
        accounts = sum(len(group.accounts) for group in groups)
        while (time.monotonic() < begun + seconds or
               any(group.count(OK) < had + times * len(group.accounts) for group, had in zip(groups, before))):
            time.sleep(0.1)
            self.assertLess(time.monotonic(), begun + seconds + 60 + accounts / 10)
        return begun, time.monotonic()

    def found(self):
        """{name: (store, bytes)} of every account directory; one that lies at two places fails the test."""
        found = {}
        for store, place in self.places().items():
            for directory, sizes in accounts_below(os.path.join(place, "SharedDomains"))[0].items():
                name = os.path.basename(directory).removesuffix(".macnt") + "@" + self.domain
                self.assertNotIn(name, found)
                found[name] = (store, sum(sizes.values()))
        return found
