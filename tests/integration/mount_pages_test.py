"""Large directories through the mount: read page by page, as far as somebody reads them."""
import itertools
import json
import os
import unittest

from files import write
from mount_case import MountCase
from wire import Wire

ACCOUNTS = 5000  # a page has 1,000
DOMAINS = 1200   # likewise
FILES = 30_000   # a page has 4,096


class Pages(MountCase):
    @classmethod
    def prepare(cls):
        cls.stack.ctl("domain", "create", "many.example", "--account-foldering", "hash-1")
        rows = os.path.join(cls.stack.directory, "rows.csv")
        write(rows, "".join(f"user-{i:05}\n" for i in range(ACCOUNTS)).encode())
        cls.stack.ctl("account", "create", "--from-csv", rows, "--domain", "many.example")

    def requests(self):
        """That the daemon has had so far; asking is some of them, the same number each time."""
        return json.loads(self.stack.ctl("--json", "status").stdout)["requests"]

    def asked_while(self, work):
        before = self.requests()
        own = self.requests() - before
        before = self.requests()
        work()
        return self.requests() - before - own

    @staticmethod
    def first(directory, count):
        with os.scandir(directory) as entries:
            return [entry.name for entry in itertools.islice(entries, count)]

    def parts(self, directory, entries, page, forget=lambda: None):
        """What is asked for by whoever reads ten entries, and by whoever reads all. `forget`: what the kernel has read."""
        self.assertEqual(len(set(os.listdir(directory))), entries)
        forget()
        few = self.asked_while(lambda: self.assertEqual(len(self.first(directory, 10)), 10))
        forget()
        everything = self.asked_while(lambda: self.assertEqual(len(os.listdir(directory)), entries))
        # Besides the pages: what the path leads through, and what others of this mount do at the same time.
        self.assertGreaterEqual(everything - few, entries // page - 2)
        return few, everything

    def test_the_accounts_of_a_domain(self):
        print("requests for ten accounts and for all:", self.parts(self.mounted.path("accounts", "many.example"), ACCOUNTS, 1000))

    def test_the_domains(self):
        with Wire(self.stack.facts["socket"]) as wire:
            for i in range(DOMAINS):
                wire.call("Directory.CreateDomain", {1: f"d{i:05}.example", 4: os.urandom(16)})
        names = {f"d{i:05}.example" for i in range(DOMAINS)} | {"many.example", self.domain}
        top = self.mounted.path("accounts")
        listed = os.listdir(top)
        self.assertEqual((len(listed), set(listed)), (len(names), names))
        with os.scandir(top) as entries:
            self.assertTrue(all(entry.is_dir() for entry in entries))
        for name in (f"d{DOMAINS - 1:05}.example", "many.example"):
            self.assertTrue(os.path.isdir(os.path.join(top, name)))
        self.assertEqual(os.listdir(os.path.join(top, f"d{DOMAINS - 1:05}.example")), [])

    def test_a_directory_of_the_raw_tree(self):
        top = self.mounted.path("SharedDomains", self.domain, "many")
        os.mkdir(top)
        for i in range(FILES):
            write(os.path.join(self.stack.facts["base"], "SharedDomains", self.domain, "many", f"file-{i:05}"), b"")

        def forget():
            write(os.path.join(top, "another"), b"")
            os.unlink(os.path.join(top, "another"))

        print("requests for ten files and for all:", self.parts(top, FILES, 4096, forget))


if __name__ == "__main__":
    unittest.main()
