"""Accounts that are damaged in every way that a disk knows, as tests/formats/reader.py and the daemon see them:
both refuse the same ones, and see the same mailboxes, messages and contents in the others."""
import collections
import os
import shutil
import sys
import unittest

from reader_test import mail
from stack import SOURCE, Stack
from wire import Refused, Wire

sys.path.insert(0, os.path.join(SOURCE, "tests", "formats"))
from account import Account, ContentError
from slices import LogError

MODEL = "albert@company.com"
FLIP_STEP, CUT_STEP = 53, 397  # bytes between two damages, at least; neither is a multiple of 8
FLIPS_MAX, CUTS_MAX = 20, 5  # of a large file
LARGE_BYTES = 540000  # behind that much the daemon writes a checkpoint when it closes an account
HEAD_BYTES, HEAD_STEP = 450, 11  # the newest slice begins with what decides on the whole account
REFUSED = "refused"


def traffic(wire, subject):
    for i in range(3):
        wire.append(MODEL, "INBOX", mail(f"{subject} {i}", 2), i, ["kept"][:i % 2])
    wire.copy(MODEL, "INBOX", "Copies", [(1, 2)])
    wire.store_flags(MODEL, "INBOX", [(2, 3)], 1, 4)


def make_models(stack):
    """An account at four times of its life: directory by name. The last has slices of three epochs, one of a
    compaction, and a checkpoint that ends in the middle."""
    models = {}

    def keep(name):
        models[name] = os.path.join(stack.directory, "models", name)
        shutil.copytree(stack.facts["base"] + "/SharedDomains/company.com/albert.macnt", models[name])

    stack.ctl("mailbox", "create", MODEL, "Copies")
    with Wire(stack.facts["socket"]) as wire:
        traffic(wire, "one")
    keep("one slice")
    stack.stop()
    stack.start()
    with Wire(stack.facts["socket"]) as wire:
        traffic(wire, "two")
        wire.close_account(MODEL)
        keep("two slices")
        wire.compact(MODEL)
        keep("just compacted")
        traffic(wire, "three")
    stack.stop()
    stack.start()
    with Wire(stack.facts["socket"]) as wire:
        traffic(wire, "four")
        large = wire.append(MODEL, "INBOX", mail("large", LARGE_BYTES // 17))
        wire.expunge(MODEL, "INBOX", [(large, large)])
        wire.close_account(MODEL)
        traffic(wire, "five")
    stack.stop()
    keep("all")
    return models


def damages(directory):
    """(name, change of a directory): bits flipped, files cut, files missing."""
    names = sorted(file for file in os.listdir(directory) if not file.startswith("account."))
    newest = max(name for name in names if name.endswith(".slice"))
    for name in names:
        size = os.path.getsize(os.path.join(directory, name))
        flips = set(range(0, size, max(FLIP_STEP, size // FLIPS_MAX)))
        if name == newest:
            flips |= set(range(0, min(size, HEAD_BYTES), HEAD_STEP))
        for at in sorted(flips):
            yield f"{name} flipped at {at}", flipped(name, at)
        for at in range(0, size, max(CUT_STEP, size // CUTS_MAX)):
            yield f"{name} cut at {at}", cut(name, at)
        yield f"{name} removed", lambda folder, name=name: os.unlink(os.path.join(folder, name))


def flipped(name, at):
    def change(folder):
        with open(os.path.join(folder, name), "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << at % 8]))
    return change


def cut(name, at):
    return lambda folder: os.truncate(os.path.join(folder, name), at)


def seen_by_reader(base, account, by_checkpoint):
    try:
        opened = Account(base, account, by_checkpoint)
    except LogError:
        return REFUSED
    seen = {}
    for box in opened.state.mailboxes.values():
        for uid, row in box.messages.items():
            try:
                content = opened.content(row)
            except ContentError:
                content = None
            seen[box.name, uid] = (row.size, row.modseq, row.flags, content)
    return seen, {box.name: (box.uidnext, box.highest_modseq) for box in opened.state.mailboxes.values()}


def seen_by_daemon(wire, account):
    try:
        boxes = wire.mailboxes(account)
    except Refused as error:
        return REFUSED if "(damaged)" in str(error) else str(error)
    seen = {}
    for box in boxes:
        for row in wire.messages(account, box["name"]):
            try:
                content = wire.fetch(account, box["name"], row["uid"])
            except Refused as error:
                content = None if "(damaged)" in str(error) else str(error)
            seen[box["name"], row["uid"]] = (row["size"], row["modseq"], row["system"], content)
    return seen, {box["name"]: (box["uidnext"], box["highest_modseq"]) for box in boxes}


class DamagedAccounts(unittest.TestCase):
    @staticmethod
    def copies(models, directory, with_checkpoint):
        """Copies of the models as accounts, each with one damage: their names and what was done to them."""
        made = {}
        for name, model in models.items():
            for file in os.listdir(model):
                if file.endswith(".checkpoint") and not with_checkpoint:
                    os.unlink(os.path.join(model, file))
            for what, change in damages(model):
                account = f"damaged{len(made)}"
                shutil.copytree(model, f"{directory}/{account}.macnt")
                change(f"{directory}/{account}.macnt")
                made[account + "@company.com"] = f"{name}: {what}"
        return made

    def compare(self, with_checkpoint):
        found = collections.Counter()
        with Stack() as stack:
            models, base = make_models(stack), stack.facts["base"]
            made = self.copies(models, os.path.join(base, "SharedDomains/company.com"), with_checkpoint)
            stack.start()
            with Wire(stack.facts["socket"]) as wire:
                whole = seen_by_daemon(wire, MODEL)
                self.assertEqual(len(whole[0]), 25)
                for account, what in made.items():
                    with self.subTest(damage=what):
                        mine = seen_by_reader(base, account, with_checkpoint)
                        self.assertEqual(mine, seen_by_daemon(wire, account))
                        kind = REFUSED if mine == REFUSED else "whole" if mine == whole else "less"
                        found[kind] += 1
        return found

    def test_without_a_checkpoint(self):
        found = self.compare(False)
        self.assertTrue(found[REFUSED] and found["less"], found)

    def test_with_a_checkpoint(self):
        found = self.compare(True)
        self.assertTrue(found[REFUSED] and found["less"] and found["whole"], found)


if __name__ == "__main__":
    unittest.main()
