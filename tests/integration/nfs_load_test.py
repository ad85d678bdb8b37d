"""Six NFS servers and a fast store under LMTP and POP3 load: every account's files lie where they are said to, and nowhere
else, as the servers' own directories show. CANOPY_NFS_ACCOUNTS=10000 CANOPY_NFS_SECONDS=60: at length. CANOPY_NFS_VERSION=4:
the servers are spoken to in that version."""
import os
import unittest

from cluster_case import LETTERS, ClusterCase, accounts_below
from mail_load import OK, figures, not_kept
from wire import Wire

ACCOUNTS = int(os.environ.get("CANOPY_NFS_ACCOUNTS", "120"))
SECONDS = float(os.environ.get("CANOPY_NFS_SECONDS", "5"))


class SixServers(ClusterCase):
    options = ("--fast",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.names = [f"{LETTERS[number % len(LETTERS)]}user{number}@{cls.domain}" for number in range(ACCOUNTS)]

    def test_every_account_s_files_lie_where_they_are_said_to(self):
        self.create(self.names)
        said = self.said(self.names)
        self.assertEqual(len(said), ACCOUNTS)
        groups = [group.start() for group in self.groups(said)]
        self.assertEqual(len(groups), self.servers)
        begin, end = self.load(groups, SECONDS, 3)
        for group in groups:
            group.finish()
            self.assertEqual([request for request in group.requests if request.outcome != OK][:3], [])
            print("{}: {} accounts, {:.0f} requests/s, p99 {:.0f} ms".format(
                group.name, len(group.accounts), *figures(group.requests, begin, end)))
        self.check_places(said)
        for group in groups:
            self.assertEqual(not_kept(self.stack, group), [])

    def check_places(self, said):
        places, stores = self.places(), self.stack.facts["stores"]
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
        for name in self.names[:self.servers]:  # what an administrator is shown is the same
            self.assertLessEqual(wire.locate(name).items(), self.ctl("locate", name).items())
        self.assertEqual({file for file in small if file.endswith(".settings")},
                         {file for file in found["fast"][1] if file.endswith(".settings")})


if __name__ == "__main__":
    unittest.main()
