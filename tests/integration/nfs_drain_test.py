"""A store is drained, taken out, put back and filled anew by `canopyctl rebalance`, over NFS, while mail flows: no client sees
an error, nothing is lost or doubled, hardly more is copied than there is, and the store is left with its marker alone.
CANOPY_DRAIN_ACCOUNTS=10000: so many on the store that is drained, with figures."""
import os
import time
import unittest

from cluster_case import LETTERS, ClusterCase, accounts_below
from mail_case import Lines
from mail_load import OK, figures, not_kept

ACCOUNTS = int(os.environ.get("CANOPY_DRAIN_ACCOUNTS", "60"))
OTHERS = max(30, ACCOUNTS // 10)  # on the servers that stay
BALLAST = int(os.environ.get("CANOPY_DRAIN_KIB", "100")) << 10  # in each account, so that what comes meanwhile is little beside it
DRAINED = "nfs1"
MARKER = ".canopy/store"


class Drain(ClusterCase):
    servers = 3

    def fill(self, names):
        """A message with a subject of its own kind, which the load does not count."""
        body = "Subject: ballast.{}\r\n\r\n" + ("x" * 70 + "\r\n") * (BALLAST // 72) + ".\r\n"
        with Lines(self.stack.address("lmtp")) as lines:
            lines.reply()
            lines.ask("LHLO load.example")
            for number, name in enumerate(names):
                lines.send(f"MAIL FROM:<sender@example.org>\r\nRCPT TO:<{name}>\r\nDATA\r\n")
                replies = [lines.reply() for _ in range(3)]
                lines.send(body.format(number))
                replies.append(lines.reply())
                self.assertEqual([reply[:3] for reply in replies], ["250", "250", "354", "250"], replies)

    def settled(self):
        """When everything has moved; what the relocation says of itself."""
        deadline = time.monotonic() + 120 + ACCOUNTS / 5
        while True:
            shown = self.ctl("relocation", "show", "/")
            if shown["state"] == "finished":
                break
            self.assertEqual(shown["last_error"], "")
            self.assertLess(time.monotonic(), deadline, shown)
            time.sleep(0.2)
        self.assertEqual(self.ctl("mounts", "show")["superseded"], [])
        return shown

    def left_on(self, store):
        """Files, and directories outside of .canopy, once what was set aside has been removed in the background."""
        place = self.places()[store]
        deadline = time.monotonic() + 60
        while True:
            left = []
            for path, folders, files in os.walk(place):
                inside = os.path.relpath(path, place)
                left += [os.path.normpath(os.path.join(inside, file)) for file in files]
                left += [folder for folder in folders if inside == "." and folder != ".canopy"]
            if left == [MARKER] or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def watch(self, what, groups, change):
        """Does `change`, which moves accounts, under load; checks what was copied, and says how it went."""
        before = self.found()
        pace = self.load(groups, 3, 0)
        begun = time.monotonic()
        change()
        shown = self.settled()
        ended = time.monotonic()
        after = self.found()
        self.assertEqual(sorted(after), sorted(before))
        said = self.said(self.names)
        self.assertEqual({name: after[name][0] for name in self.names}, said)
        moved = [name for name in after if after[name][0] != before[name][0]]
        self.assertEqual((shown["moved"], shown["failed"]), (len(moved), 0))
        was, is_now = (sum(sizes[name][1] for name in moved) for sizes in (before, after))
        # What came before an account moved was copied, what came later was not.
        self.assertLessEqual(shown["bytes_copied"], 1.05 * is_now)
        self.assertGreaterEqual(shown["bytes_copied"], 0.95 * was)
        self.spans.append((what, pace, (begun, ended), len(moved), ended - begun, shown, was, is_now))
        return moved

    def report(self, groups):
        requests = [request for group in groups for request in group.requests]
        for what, pace, span, moved, seconds, shown, was, is_now in self.spans:
            slowest = {}  # of each account: the longest that anybody waited
            for request in requests:
                if span[0] <= request.ended and request.begun < span[1]:
                    slowest[request.account] = max(slowest.get(request.account, 0), request.ended - request.begun)
            (usual, _), (meanwhile, p99) = figures(requests, *pace), figures(requests, *span)
            waits = sorted(slowest.values())
            print(f"{what}: {moved} moved in {seconds:.1f} s, {shown['bytes_copied']} bytes copied, "
                  f"{shown['bytes_copied'] / was:.3f} of what they had before and {shown['bytes_copied'] / is_now:.3f} of what they have "
                  f"after; held for up to {shown['held_ms_max']} ms; requests/s {meanwhile:.0f}, before {usual:.0f}; p99 {p99:.0f} ms, "
                  f"longest wait for an account p99 {waits[len(waits) * 99 // 100] * 1000:.0f} ms, most {waits[-1] * 1000:.0f} ms; "
                  f"load {os.getloadavg()[0]:.1f}")

    def test_a_store_is_drained_removed_put_back_and_filled_anew(self):
        of_drained = LETTERS[:len(LETTERS) // self.servers]
        others = LETTERS[len(of_drained):]
        self.names = ([f"{of_drained[number % len(of_drained)]}user{number}@{self.domain}" for number in range(ACCOUNTS)] +
                      [f"{others[number % len(others)]}user{number}@{self.domain}" for number in range(OTHERS)])
        self.create(self.names)
        self.fill(self.names)
        said = self.said(self.names)
        self.assertEqual(sum(store == DRAINED for store in said.values()), ACCOUNTS)
        self.spans = []
        groups = [group.start() for group in self.groups(said)]
        try:
            self.load(groups, 0, 1)
            planned = self.ctl("store", "drain", DRAINED, "--plan")
            self.assertEqual([(change["from"], planned["applied"]) for change in planned["changes"]], [(DRAINED, False)])
            self.assertEqual(self.said(self.names), said)
            moved = self.watch("store drain", groups, lambda: self.ctl("store", "drain", DRAINED))
            self.assertLessEqual({name for name in self.names if said[name] == DRAINED}, set(moved))
            self.assertEqual(self.left_on(DRAINED), [MARKER])
            address = self.stack.facts["stores"][DRAINED]["address"]
            self.ctl("store", "remove", DRAINED)
            self.assertNotIn(DRAINED, [store["name"] for store in self.ctl("store", "list")])
            self.assertEqual(self.left_on(DRAINED), [MARKER])

            self.ctl("store", "add", DRAINED, address)
            planned = self.ctl("rebalance", "--plan")
            self.assertFalse(planned["applied"])
            self.assertTrue(any(row.split()[1] == DRAINED for row in planned["added"]), planned)
            self.assertNotIn(DRAINED, self.said(self.names).values())
            moved = self.watch("rebalance", groups, lambda: self.ctl("rebalance", "--apply"))
            self.assertGreater(len(moved), 0)
            self.assertEqual({store for store, _ in self.found().values()}, {f"nfs{number}" for number in range(1, self.servers + 1)})
            self.assertEqual(self.ctl("rebalance", "--plan")["added"], [])
        finally:
            for group in groups:
                group.finish()
        self.report(groups)
        for group in groups:
            self.assertEqual([request for request in group.requests if request.outcome != OK][:3], [])
            self.assertEqual(not_kept(self.stack, group), [])
        self.assertEqual(self.ctl("check", self.domain)["damages"], [])
        for store, place in self.places().items():  # settings and info lie in the accounts' directories
            others = accounts_below(os.path.join(place, "SharedDomains"))[1]
            if store != "root":
                self.assertEqual(others, [], store)


if __name__ == "__main__":
    unittest.main()
