"""The mount table changed again and again over the wire while mail flows over NFS servers and a fast store: no client ever
sees an error, and everything is found. CANOPY_TABLE_CHANGES=1000: at length."""
import os
import random
import threading
import time
import unittest

from cluster_case import PASSWORD, ClusterCase
from mail_load import OK, Group, not_kept

CHANGES = int(os.environ.get("CANOPY_TABLE_CHANGES", "30"))
SEED = int(os.environ.get("CANOPY_TABLE_SEED", "1"))


class TableUnderLoad(ClusterCase):
    servers, options = 3, ("--fast",)

    def table(self, chance):
        """Rows for every letter, drawn anew: where accounts are to lie from now on, some below a directory of the store."""
        cuts = sorted(chance.sample(range(1, 26), chance.randint(0, 5)))
        rows = ["/ root", "SharedDomains/fast fast"]
        for first, end in zip([0, *cuts], [*cuts, 26]):
            store = chance.choice(["root"] + 3 * [f"nfs{number}" for number in range(1, self.servers + 1)])
            letters = f"[{chr(97 + first)}-{chr(96 + end)}]" if end - first > 1 else chr(97 + first)
            rows.append(f"SharedDomains/{self.domain}/{letters}.sub {store}{chance.choice(['', '', ' second/place'])}")
        return "\n".join(rows) + "\n"

    def go_on_creating(self, over, made, errors):
        """New accounts meanwhile, whose places are the newest table's."""
        number = 0
        while not over.is_set():
            number += 1
            name = f"{chr(97 + number % 26)}new{number}@{self.domain}"
            done = self.stack.ctl("account", "create", "--no-password", name, check=False)
            (made if done.returncode == 0 else errors).append(name if done.returncode == 0 else done.stderr)

    def test_no_client_sees_an_error(self):
        chance = random.Random(SEED)
        parts = []
        for part in range(4):
            names = [f"{chr(97 + letter)}{part}user@{self.domain}" for letter in range(part, 26, 4)]
            self.create(names)
            self.stack.ctl("mounts", "set", "-", stdin=self.table(chance))  # so that older ones lie elsewhere already
            parts.append(Group(self.stack, f"part{part}", names, PASSWORD, deliverers=1))
        over, made, errors = threading.Event(), [], []
        for group in parts:
            group.start()
        creator = threading.Thread(target=self.go_on_creating, args=(over, made, errors))
        creator.start()
        try:
            for _ in range(CHANGES):
                served = [group.answered() for group in parts]
                self.stack.ctl("mounts", "set", "-", stdin=self.table(chance))
                deadline = time.monotonic() + 60
                while any(group.answered() <= before for group, before in zip(parts, served)):  # each table meets some
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.002)
        finally:
            over.set()
            creator.join()
            for group in parts:
                group.finish()
        self.assertEqual(errors[:3], [])
        for group in parts:
            self.assertEqual([request for request in group.requests if request.outcome != OK][:3], [], f"seed {SEED}")
            self.assertGreater(len(group.requests), 0)
            self.assertEqual(not_kept(self.stack, group), [])
        listed = set(self.ctl("account", "list", self.domain))
        self.assertEqual({name.split("@")[0] for name in made} - listed, set())
        requests = sorted(request for group in parts for request in group.requests)
        print(f"{CHANGES} tables, {len(requests)} requests without an error in {requests[-1].ended - requests[0].begun:.0f} s, "
              f"{len(made)} accounts made meanwhile")


if __name__ == "__main__":
    unittest.main()
