"""canopyctl import: the mail of many accounts at once, stopped and gone on with."""
import json
import mailbox
import os
import random
import shutil
import signal
import subprocess
import time
import unittest

import canopyctl_mailbox_test as boxes
from ctl_case import CTL, FAILED, TEMPORARY

ACCOUNTS = int(os.environ.get("CANOPY_IMPORT_ACCOUNTS", "12"))
MESSAGES = int(os.environ.get("CANOPY_IMPORT_MESSAGES", "150"))  # in each
FLAGS = (("", 0), ("S", boxes.SEEN), ("FR", boxes.FLAGGED | boxes.ANSWERED), ("T", boxes.DELETED), ("DS", boxes.DRAFT | boxes.SEEN))


def content(name, number):
    return f"From: a@example.org\nSubject: {name} {number}\n\nThis is message {number} of {name}.\n".encode()


def make_maildir(path, name, count, folder=None):
    """What it holds, by mailbox, as messages_of() shows it."""
    wanted = {"INBOX": [], **({folder: []} if folder else {})}
    source = mailbox.Maildir(path)
    into = {"INBOX": source, **({folder: source.add_folder(folder.replace("/", "."))} if folder else {})}
    for number in range(count):
        box = folder if folder and number % 3 == 0 else "INBOX"
        letters, flags = FLAGS[number % len(FLAGS)]
        target = os.path.join(into[box]._path, "cur" if letters else "new",
                              f"{1500000000 + number}.{number:06}.host" + (f":2,{letters}" if letters else ""))
        with open(target, "wb") as file:
            file.write(content(name, number))
        os.utime(target, (1500000000 + number, 1500000000 + number))
        wanted[box].append((boxes.wire(content(name, number)), 1500000000 + number, flags, []))
    return wanted


def make_mbox(path, name, count):
    messages = [(content(name, number), 1600000000 + number, ("", "RO", "FA", "D")[number % 4], ["work"] if number % 5 == 0 else [])
                for number in range(count)]
    boxes.write_mbox(path, messages)
    return {"INBOX": boxes.expected(messages)}


class Imports(boxes.MailboxCase):
    def tree(self, kind, accounts, count, domain):
        """A tree DOMAIN/ACCOUNT in one of the two formats, and what each account must have."""
        tree, wanted = self.path("tree"), {}
        os.makedirs(os.path.join(tree, domain))
        self.ctl("domain", "create", domain, "--account-foldering", "1")
        self.addCleanup(self.stack.ctl, "domain", "delete", domain, "--recursive", check=False)
        for i in range(accounts):
            name = f"{'abc'[i % 3]}user{i}"
            path = os.path.join(tree, domain, name)
            if kind == "maildir":
                path = os.path.join(path, "Maildir") if i % 2 else path
                os.makedirs(os.path.dirname(path), exist_ok=True)
                wanted[f"{name}@{domain}"] = make_maildir(path, name, count, "Lists/Canopy" if i % 2 else None)
            else:
                wanted[f"{name}@{domain}"] = make_mbox(path + (".mbox" if i % 2 else ""), name, count)
        return tree, wanted

    def start(self, *arguments):
        return subprocess.Popen([CTL, "--json", "--server", "unix:" + self.stack.facts["socket"], "import", *arguments],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def check(self, wanted):
        for account, by_box in wanted.items():
            for box, messages in by_box.items():
                self.assertEqual(self.messages_of(account, box), messages, f"{account} {box}")

    def killed_and_gone_on_with(self, kind, how):
        tree, wanted = self.tree(kind, ACCOUNTS, MESSAGES, f"{kind}-{how.name.lower()}.example")
        state, seed, killed = tree + ".canopy-state", random.Random(kind), 0
        for number in range(6):
            running = self.start(tree, "--" + kind, "--create", "--concurrency", "3")
            deadline = time.monotonic() + 60
            # At any moment after it has begun; a run that ends before is none.
            while not os.path.exists(state + "/.done") and running.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(seed.uniform(0.0, 0.03 * number))  # at once at first: it may be quick
            running.send_signal(how)
            running.communicate(timeout=60)
            killed += running.returncode not in (0, FAILED)
            if how == signal.SIGINT and running.returncode != 0:
                self.assertIn(running.returncode, (TEMPORARY, -signal.SIGINT))  # the latter before it has begun
            if running.returncode == 0:
                break
        self.assertGreater(killed, 0)
        running = self.start(tree, "--" + kind, "--create")
        out, error = running.communicate(timeout=300)
        self.assertEqual(running.returncode, 0, error)
        last = json.loads(out)
        self.assertEqual((last["failed"], last["not_tried"]), ([], 0))
        self.assertFalse(os.path.exists(state))
        self.check(wanted)
        # What was on its way when a run was killed is told again by its id.
        again = self.ctl("import", tree, "--" + kind)
        self.assertEqual((again["imported"], again["earlier"]), (0, ACCOUNTS * MESSAGES))
        self.check(wanted)

    def test_maildirs_killed_in_the_middle(self):
        self.killed_and_gone_on_with("maildir", signal.SIGKILL)

    def test_mboxes_killed_in_the_middle(self):
        self.killed_and_gone_on_with("mbox", signal.SIGKILL)

    def test_maildirs_interrupted_in_the_middle(self):
        self.killed_and_gone_on_with("maildir", signal.SIGINT)

    def test_what_fails_is_listed_and_tried_again_alone(self):
        tree, wanted = self.tree("maildir", 4, 3, "partly.example")
        bad, absent = "broken@partly.example", "buser1@partly.example"
        os.makedirs(os.path.join(tree, "partly.example", "broken", "files"))
        for account in wanted:
            if account != absent:
                self.ctl("account", "create", account, "--no-password")
        done = self.stack.ctl("--json", "import", tree, "--maildir", check=False)
        self.assertEqual(done.returncode, FAILED, done.stderr)
        shown = json.loads(done.stdout)
        self.assertEqual((shown["accounts"], shown["imported"], shown["not_tried"]), (3, 9, 0))
        self.assertEqual({row["account"]: row["error"] for row in shown["failed"]},
                         {bad: "invalid-argument", absent: "not-found"})
        text = self.stack.ctl("import", tree, "--maildir", check=False)
        self.assertIn(f"failed: {absent} (", text.stdout)
        self.assertIn("9 were there from an earlier run", text.stdout)
        shutil.rmtree(os.path.join(tree, "partly.example", "broken"))
        last = self.ctl("import", tree, "--maildir", "--create")
        self.assertEqual((last["accounts"], last["imported"], last["earlier"]), (1, 3, 9))
        self.check(wanted)

    def test_progress_is_shown_on_a_terminal(self):
        tree, wanted = self.tree("mbox", 3, 200, "shown.example")
        master, slave = os.openpty()
        running = subprocess.Popen([CTL, "--server", "unix:" + self.stack.facts["socket"], "import", tree, "--mbox", "--create"],
                                   stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        # It shows how far it is four times a second, and may be done before; so time passes while it has only begun.
        while not os.path.exists(tree + ".canopy-state") and running.poll() is None:
            time.sleep(0.001)
        running.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        running.send_signal(signal.SIGCONT)
        shown = boxes.read_terminal(master)
        out, _ = running.communicate(timeout=120)
        self.assertEqual(running.returncode, 0, shown)
        self.assertIn(b"600 messages imported into 3 accounts", out)
        self.assertRegex(shown, rb"\r[0-9]+ messages, [0-9]+/s")
        self.check(wanted)

    def test_trees_of_one_domain_and_of_whole_addresses(self):
        self.ctl("domain", "create", "flat.example")
        self.addCleanup(self.stack.ctl, "domain", "delete", "flat.example", "--recursive", check=False)
        tree = self.path("flat")
        os.makedirs(tree + "/dora")
        wanted = {"anna@flat.example": make_mbox(tree + "/anna", "anna", 3),
                  "bert@flat.example": make_mbox(tree + "/bert@flat.example.mbox", "bert", 3)}
        wanted["dora@flat.example"] = {**make_mbox(tree + "/dora/INBOX.mbox", "dora", 2),
                                       "Sent": make_mbox(tree + "/dora/Sent.mbox", "dora", 1)["INBOX"]}
        self.assertEqual(self.ctl("import", tree, "--mbox", "--domain", "flat.example", "--create")["imported"], 9)
        self.check(wanted)
        one, many = self.path("one"), self.path("many")
        make_maildir(one, "x", 1)
        os.makedirs(many)
        self.refused(FAILED, "import", one, "--maildir")  # an account's own
        self.refused(FAILED, "import", many, "--maildir")
        self.refused(FAILED, "import", many, "--maildir", "--mbox")
        self.refused(FAILED, "import", many)
        make_mbox(many + "/anna", "anna", 1)
        self.assertIn("--domain", self.refused(FAILED, "import", many, "--mbox")["message"])
        make_mbox(many + "/anna.mbox", "anna", 1)
        self.assertIn("second one", self.refused(FAILED, "import", many, "--mbox", "--domain", "flat.example")["message"])


if __name__ == "__main__":
    unittest.main()
