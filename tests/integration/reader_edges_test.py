"""The edges of docs/formats, where a reader and the daemon could differ: texts of dictionaries, trees, and records
that no daemon writes. Both sides must take and refuse the same, and see the same in what they take."""
import json
import os
import re
import shutil
import struct
import sys
import tempfile
import unittest

from stack import SOURCE, Stack
from wire import Refused, Wire

sys.path.insert(0, os.path.join(SOURCE, "tests", "formats"))
import dictionary
import tree
from account import Account
from slices import LogError

ACCOUNT = "jsmith@company.com"
INFO = 1

# Values of a dictionary: half of them are refused.
VALUES = [
    r'"\xAF"', r'"\xaf\u00E9\U0001F600"', r'"\ud800"', r'"\U00110000"', r'"\q"', '"a\tb"', '"a\nb"', '"\x7f"',
    '"\u0085\u200b"', '"\u2028"', '"\ufeff"', r'"\n\r\t\\\""', r'"\N"', r'"\x4"', r'"\u12"', r'"\x00"', '"/*"', '"//"',
    '""', '"a', "a b", "a/b", "a.b_c-d@e+f", "ä", "'a'", "YES", "a;b=c", "",
    "#5", "#05", "#-0", "#0", "#-5", "#+5", "#", "#5a", "#5 ", "#٣", "#9223372036854775807", "#9223372036854775808",
    "#-9223372036854775808", "#-9223372036854775809", "#NULL", "#null#",
    "#T01-02-2020", "#T31-02-2020", "#T29-02-2023", "#T29-02-2024", "#T01-02-0000", "#T01-02-0001", "#T1-2-2020",
    "#T01-02-9999_23:59:59", "#T01-02-2020_24:00:00", "#T01-02-2020_23:59:60", "#T01-02-2020_", "#T01-02-2020x",
    "[]", "[AA==]", "[AAE=]", "[AAEC]", "[AA]", "[AB==]", "[A A E C]", "[A\nAE\tC]", "[AA//*x*/]", "[AAEC", "[AA-_]",
    "[=]", "[====]",
    "()", "(a)", "(a,)", "(,a)", "(a b)", "( a , b )", "(" * 31 + ")" * 31, "(" * 32 + ")" * 32,
    "{}", "{a=b}", "{a=b;}", "{a=b;;}", "{;}", "{a=b c=d}", "{a=b;a=c}", '{a=b;"a"=c}', r'{a=b;"\x61"=c}', '{""=c}',
    "{a}", "{a=}", "{.a=b}", "{a= /* c */ b // d\n}", "{a=/*b}", "{a=b/**/}", "{a=(b,{c=d},[AA==])}",
    "//x\na", "/**/a/**/", "a//x\r", "a\x0c", "\u00a0a"]


class Dictionaries(unittest.TestCase):
    def test_both_sides_take_and_refuse_the_same_texts_and_read_them_alike(self):
        taken = 0
        with Stack() as stack, Wire(stack.facts["socket"]) as wire:
            for value in VALUES:
                text = f"{{v={value};}}"
                with self.subTest(text=text):
                    mine = self.read(text)
                    self.assertEqual(mine is not None, self.set_info(wire, text))
                    if mine is None:
                        continue
                    taken += 1
                    written, = wire.call("Info.Get", {1: {1: ACCOUNT}, 2: INFO})[1]
                    self.assertEqual(dictionary.parse(written, "the answer")["v"], mine["v"])
        self.assertGreater(taken, 30)
        self.assertGreater(len(VALUES) - taken, 30)

    @staticmethod
    def read(text):
        try:
            return dictionary.parse(text.encode(), "text")
        except dictionary.DictionaryError:
            return None

    @staticmethod
    def set_info(wire, text):
        try:
            wire.call("Info.Set", {1: {1: ACCOUNT}, 2: INFO, 3: text, 4: 1, 6: os.urandom(16)})
            return True
        except Refused:
            return False


# --------------------------------------------------------------------------------------------------- forged records
def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(value)) + value


def message(mailbox, uid, modseq, content, size=None, keywords=(), flags=0, zero=0):
    size = len(content) if size is None else size
    return 7, struct.pack("<IIQqhHHBBQ", mailbox, uid, modseq, 1700000000, 0, flags, len(keywords), 0, zero,
                          size) + struct.pack(f"<{len(keywords)}H", *keywords) + content


def flags_change(modseq, flags, keywords, ranges):
    group = struct.pack(f"<HHI{len(keywords)}H", flags, len(keywords), len(ranges), *keywords)
    return 10, struct.pack("<IIQ", 1, 1, modseq) + group + b"".join(struct.pack("<II", *each) for each in ranges)


def named(form, *numbers, name=None):
    return struct.pack("<" + form, *numbers) + (b"" if name is None else text(name))


NOWHERE = 99  # no mailbox has this id; INBOX has 1, with the UIDs 1 to 3 and modseq 4
LAST = message(1, 77, 500, b"the last\r\n")

# Name, and the records of each further frame.
FORGED = {
    "renamed nowhere": [[(3, named("IIQ", NOWHERE, 0, 1000, name="x"))]],
    "deleted nowhere": [[(4, named("IIQ", NOWHERE, 0, 1000))]],
    "message nowhere": [[message(NOWHERE, 7, 1000, b"x")], [message(NOWHERE, 8, 1001, b"y")]],
    "message nowhere, where the name is taken": [
        [(2, named("IIQ", 50, 77, 1000, name=f"Recovered-{NOWHERE}"))], [message(NOWHERE, 7, 1000, b"x")]],
    "message to a deleted mailbox": [
        [(4, named("IIQ", NOWHERE, 0, 1000))], [message(NOWHERE, 7, 1000, b"x")]],
    "message that carries content only": [[message(0, 7, 1000, b"x")], [LAST]],
    "flags nowhere": [[(10, struct.pack("<IIQ", NOWHERE, 0, 1000))]],
    "expunged nowhere": [[(11, struct.pack("<IIQII", NOWHERE, 1, 1000, 1, 1))]],
    "floor": [[(13, named("IIQ", 1, 0, 1000))]],
    "floor nowhere": [[(13, named("IIQ", NOWHERE, 0, 1000))]],
    "uidnext nowhere": [[(12, named("IIIIQ", NOWHERE, 5, 4000000000, 0, 1000))]],
    "uidnext and uidvalidity": [[(12, named("IIIIQ", 1, 9, 4000000000, 0, 1000))]],
    "uidnext lower, uidvalidity kept": [[(12, named("IIIIQ", 1, 2, 0, 0, 1000))]],
    "counter": [[(15, named("IIQ", 50, 4000000000, 1000))]],
    "unknown type": [[(99, b"abc"), LAST]],
    "no records": [[], [LAST]],
    "rename too short": [[(5, named("I", 1, name="before")), (3, b"123"), LAST]],
    "rename too long": [[(3, named("IIQ", 1, 0, 1000, name="x") + b"1"), LAST]],
    "inline content of another size": [[message(1, 50, 1000, b"hello", size=7)]],
    "a byte that is not zero": [[message(1, 50, 1000, b"hello", zero=1)]],
    "UID 0": [[message(1, 0, 1000, b"hello")]],
    "highest UID": [[message(1, 2**32 - 2, 1000, b"hello")]],
    "the UID above it": [[message(1, 2**32 - 1, 1000, b"hello")]],
    "a keyword that nothing defines": [[message(1, 50, 1000, b"hello", keywords=(5,))]],
    "a keyword far off": [[(9, named("HH", 60000, 0, name="Far")), message(1, 50, 1000, b"hi", keywords=(60000,))]],
    "a keyword twice": [[(9, named("HH", 0, 0, name="Twice")), message(1, 50, 1000, b"hi", keywords=(0, 0))]],
    "flags that nothing defines": [[message(1, 50, 1000, b"hello", flags=0xFFFF)]],
    "flags changed": [[(9, named("HH", 0, 0, name="K")), flags_change(1000, 0xFFFF, (0, 0), [(2, 2), (3, 900)])]],
    "flags changed in a range from 3 to 1": [[flags_change(1000, 1, (), [(3, 1)])]],
    "flags changed in a range from 0 to 1": [[flags_change(1000, 1, (), [(0, 1)])]],
    "subscribed, neither on nor off": [[(5, named("I", 2, name="x"))]],
    "all expunged": [[(11, struct.pack("<IIQII", 1, 1, 1000, 1, 2**32 - 1))]],
    "some expunged": [[(11, struct.pack("<IIQII", 1, 1, 1000, 2, 40))]],
    "made again": [[(2, named("IIQ", 1, 77, 1000, name="Other")), LAST]],
    "another mailbox": [[(2, named("IIQ", 70, 77, 1000, name="Other")), message(70, 3, 1001, b"hi")]],
    "a UID that is there": [[message(1, 2, 1000, b"replaced", flags=1)]],
    "another version of a modseq that is lower": [[flags_change(1, 2, (), [(2, 2)])]],
}


def forged_frame(seed, at, entries):
    """A frame of (type, body) for the offset `at` of a slice."""
    records, position = b"", at + 56
    for kind, body in entries:
        head = struct.pack("<BBHI", kind, 0, 0, len(body))
        record = struct.pack("<I", seed.checksum(position, head, body)) + head + body
        record += bytes(-len(record) % 8)
        records, position = records + record, position + len(record)
    head = struct.pack("<QIIqQ16s", 56 + len(records), len(entries), 0, 1700000000 * 10**9, 0, bytes(16))
    return b"FRM1" + struct.pack("<I", seed.checksum(at, head)) + head + records


def forge(base, account, frames):
    opened = Account(base, account)
    entry = opened.manifest.entries[-1]
    file = opened.files[entry.number]
    at = len(file.data)
    with open(os.path.join(opened.directory, file.name), "ab") as slice_file:
        for entries in frames:
            frame = forged_frame(opened.seed(entry), at, entries)
            slice_file.write(frame)
            at += len(frame)


class Tree(unittest.TestCase):
    def test_both_sides_find_the_same_domains_and_accounts(self):
        with Stack() as stack:
            shared = os.path.join(stack.facts["base"], "SharedDomains")
            stack.stop()
            self.add_by_hand(stack.facts["base"], shared)
            stack.start()
            stack.ctl("domain", "create", "münchen.example", "--account-foldering", "1-2", "--fast-index", "3")
            stack.ctl("account", "create", "käthe@münchen.example", "--no-password")
            theirs = [f"{name}@{domain}" for domain in stack.ctl("domain", "list").stdout.split()
                      for name in stack.ctl("account", "list", domain).stdout.split()]
            mine = [place.account for place in tree.accounts(stack.facts["base"])]
            self.assertEqual(sorted(mine), sorted(theirs))
            place = tree.find(stack.facts["base"], "käthe@xn--mnchen-3ya.example")
            self.assertTrue(place.directory.startswith("SharedDomains/x.sub/n.sub/xn--mnchen-3ya.example/k.sub/"))
            located = json.loads(stack.ctl("--json", "locate", "käthe@münchen.example").stdout)
            self.assertEqual((place.directory, place.settings, place.info, place.slot),
                             (located["account_directory"], located["settings_file"], located["info_file"],
                              located["slot"]))

    @staticmethod
    def add_by_hand(base, shared):
        with open(os.path.join(base, "Settings", "Tree.settings"), "w", encoding="utf-8") as file:
            file.write("// by hand\n{ DomainFoldering = 1-1 }")
        os.makedirs(os.path.join(shared, "c.sub/o.sub"))
        os.rename(os.path.join(shared, "company.com"), os.path.join(shared, "c.sub/o.sub/company.com"))
        for path in ("unfinished.example", "a.sub/Upper.example", "c.sub/o.sub/company.com/x.sub/other",
                     "fast/no.example"):
            os.makedirs(os.path.join(shared, path))
        for name in ("folded.example", "fast/hidden.example"):
            os.makedirs(os.path.join(shared, "f.sub/o.sub", name, "byhand.macnt"))
            with open(os.path.join(shared, "f.sub/o.sub", name, "domain.settings"), "w", encoding="utf-8") as file:
                file.write("{}")
        os.symlink("c.sub/o.sub/company.com", os.path.join(shared, "linked.example"))


class Records(unittest.TestCase):
    def test_both_sides_see_the_same_in_records_that_no_daemon_writes(self):
        with Stack() as stack:
            accounts = {f"forged{i}@company.com": name for i, name in enumerate(FORGED)}
            with Wire(stack.facts["socket"]) as wire:
                wire.call("Directory.CreateAccounts", {1: [{1: account} for account in accounts]})
                for account in accounts:
                    for i in range(3):
                        wire.append(account, "INBOX", f"Subject: {i}\r\n\r\n".encode())
            stack.stop()
            for account, name in accounts.items():
                forge(stack.facts["base"], account, FORGED[name])
            stack.start()
            with Wire(stack.facts["socket"]) as wire:
                seen = [self.compare(stack, wire, account, name) for account, name in accounts.items()]
            self.assertEqual(seen.count("refused"), 9)

    def compare(self, stack, wire, account, name):
        mine = self.mine(stack.facts["base"], account)
        with self.subTest(forged=name):
            self.assertEqual(mine, self.theirs(wire, account))
        return mine

    @staticmethod
    def theirs(wire, account):
        try:
            listed = wire.mailboxes(account)
        except Refused as error:
            return "refused" if "does not have its form" in str(error) else str(error)
        rows = [(box["name"], [(row["uid"], row["size"], row["modseq"], row["system"], sorted(row["keywords"]))
                               for row in wire.messages(account, box["name"])]) for box in listed]
        return listed, rows, wire.account_modseq(account)

    @staticmethod
    def mine(base, account):
        try:
            state = Account(base, account).state
        except LogError:
            return "refused"
        boxes = sorted(state.mailboxes.values(), key=lambda box: box.name)
        listed = [{"id": box.id, "name": box.name, "uidvalidity": box.uidvalidity, "uidnext": box.uidnext,
                   "highest_modseq": box.highest_modseq} for box in boxes]
        rows = [(box.name, [(row.uid, row.size, row.modseq, row.flags,
                             sorted(state.keywords[each] for each in row.keywords if each in state.keywords))
                            for _, row in sorted(box.messages.items())]) for box in boxes]
        return listed, rows, state.highest_modseq


class WorkedExample(unittest.TestCase):
    """The slice that docs/formats/account-log.md shows, read as the page says that it reads."""

    def test_the_page_says_what_is_in_its_example(self):
        account = self.account()
        state, (box,) = account.state, account.state.mailboxes.values()
        self.assertEqual((box.id, box.name, box.uidvalidity, box.uidnext, box.highest_modseq),
                         (1, "INBOX", 1700000000, 2, 3))
        self.assertEqual(state.subscriptions, {"INBOX"})
        row, = box.messages.values()
        self.assertEqual((row.uid, row.modseq, row.flags, row.date, row.zone), (1, 3, 1, 1700000000, 120))
        self.assertEqual(account.content(row), b"Subject: hi\r\n\r\nhello\r\n")
        (_, result), = state.requests.values()
        self.assertEqual((result.mailbox, result.uidvalidity, result.modseq, result.uids),
                         (1, 1700000000, 2, ((1, 1),)))
        self.assertEqual((account.damages, account.readings[1].acknowledged), ([], 432))

    def account(self):
        base = tempfile.mkdtemp(prefix="canopy-it.")
        self.addCleanup(shutil.rmtree, base)
        directory = os.path.join(base, "SharedDomains/company.com/jsmith.macnt")
        os.makedirs(directory)
        for path, content in (("../domain.settings", b"{}"),
                              ("0000000000000001-0000000100000001.slice", self.data())):
            with open(os.path.join(directory, path), "wb") as file:
                file.write(content)
        return Account(base, ACCOUNT)

    def data(self):
        """Lines of an offset, some bytes, and what they are."""
        with open(os.path.join(SOURCE, "docs/formats/account-log.md"), encoding="utf-8") as page:
            lines = re.findall("^([0-9a-f]{4})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?$", page.read(), re.M)
        data = b""
        for offset, some in lines:
            self.assertEqual(int(offset, 16), len(data))
            data += bytes.fromhex(some)
        return data


if __name__ == "__main__":
    unittest.main()
