"""Two canopyd on one tree that lies on a real NFS server. The first is stopped in the middle of writes, or its packets are
held back, until the second has taken over and serves; then it is let go. It acknowledges nothing more, and the accounts are
what the second's clients saw. CANOPY_TAKEOVER_ROUNDS says how often; what took over is what is held in the next round."""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from nfs_hosts import Host, die_with_parent, why_no_hosts
from stack import BIN, SOURCE
from wire import Refused, Wire

sys.path.append(os.path.join(SOURCE, "tools"))
import ganesha  # pylint: disable=wrong-import-position

ROUNDS = int(os.environ.get("CANOPY_TAKEOVER_ROUNDS", "2"))
ACCOUNTS = 3  # of each round
DOMAIN = "company.com"
RETRYABLE = {4, 14}  # google.rpc.Code: DEADLINE_EXCEEDED, UNAVAILABLE
FENCED = 75
APART = 0.01  # between two changes of one client, so that the accounts stay small


class Daemon:
    """canopyd in a network namespace of its own, on the tree of a server that listens on all addresses."""

    def __init__(self, directory, server, version):
        self.host, self.directory, self.held = Host(), directory, None
        os.mkdir(directory)
        self.socket, self.log = os.path.join(directory, "socket"), os.path.join(directory, "log")
        address = server.address(version).replace("//0.0.0.0/", f"//{self.host.outside}/")
        self.process = subprocess.Popen(
            self.host.inside(os.path.join(BIN, "canopyd"), "--dir", address, "--init", "--loops", "2", "--memory-mib", "128",
                             "--catalog", os.path.join(directory, "catalog"), "--listen", "unix:" + self.socket,
                             "--log-file", self.log),
            preexec_fn=die_with_parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if not self.process.stdout.readline().startswith("ready "):
            error = self.process.stderr.read()
            self.end()
            raise RuntimeError(f"canopyd did not start: {error}{self.logged()}")
        self.serves_since = time.monotonic()

    def logged(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read()

    def hold(self, how):
        self.held = how
        if how == "stopped":
            self.process.send_signal(signal.SIGSTOP)
        else:
            self.host.cut_off()

    def let_go(self):
        if self.held == "stopped":
            self.process.send_signal(signal.SIGCONT)
        else:
            self.host.join()

    def stop(self):
        """In order; the exit status."""
        self.process.terminate()
        return self.process.wait(60)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()
        self.host.end()


class Ledger:
    """What was acknowledged of one account, and the one change of which nobody knows whether it happened."""

    def __init__(self, name):
        self.name = name
        self.messages = {}  # by UID: content, and whether it is flagged
        self.settings = {}
        self.number = 0
        self.unknown = None

    def next_change(self):
        self.number += 1
        kind = random.choice(("deliver", "deliver", "flag", "settings")) if self.messages else "deliver"
        change = {"kind": kind, "request": os.urandom(16)}
        if kind == "deliver":
            change["content"] = f"Subject: {self.number} to {self.name}\r\n\r\n".encode() + b"text\r\n" * random.randrange(3000)
        elif kind == "flag":
            change["uid"] = random.choice(list(self.messages))
            change["flagged"] = not self.messages[change["uid"]][1]
        else:
            change["key"], change["value"] = f"Key{random.randrange(4)}", str(self.number)
        self.unknown = change
        return change

    def acknowledged(self, change, uid):
        if change["kind"] == "deliver":
            self.messages[uid] = (change["content"], False)
        elif change["kind"] == "flag":
            self.messages[change["uid"]] = (self.messages[change["uid"]][0], change["flagged"])
        else:
            self.settings[change["key"]] = change["value"]
        self.unknown = None

    def as_if_done(self):
        """The messages and settings if the unknown change has happened; of a delivery, the content alone is known."""
        messages, settings = sorted(self.messages.values()), dict(self.settings)
        change = self.unknown
        if change["kind"] == "deliver":
            messages = sorted([*messages, (change["content"], False)])
        elif change["kind"] == "flag":
            changed = {**self.messages, change["uid"]: (self.messages[change["uid"]][0], change["flagged"])}
            messages = sorted(changed.values())
        else:
            settings[change["key"]] = change["value"]
        return messages, settings


def carry_out(wire, account, change):
    """The UID of what was delivered."""
    if change["kind"] == "deliver":
        return wire.append(account, "INBOX", change["content"], request=change["request"])
    if change["kind"] == "flag":
        wire.store_flags(account, "INBOX", [(change["uid"], change["uid"])], 1 if change["flagged"] else 2, 4,
                         request=change["request"])
    else:
        wire.set_settings(account, f'{{{change["key"]}="{change["value"]}";}}', request=change["request"])
    return None


def seen(wire, account):
    """(messages by UID, settings of ours): all that a client sees."""
    messages = {row["uid"]: (wire.fetch(account, "INBOX", row["uid"]), bool(row["system"] & 4))
                for row in wire.messages(account, "INBOX")}
    return messages, dict(re.findall(r'(Key\d)\s*=\s*"?(\d+)', wire.settings(account)))


class Client(threading.Thread):
    """Changes one account at one daemon until it is told to end; what is not acknowledged it says again and again."""

    def __init__(self, daemon, ledger):
        super().__init__(daemon=True)
        self.daemon_at, self.ledger = daemon, ledger
        self.ending, self.last, self.refusals, self.wrong = threading.Event(), 0, [], []
        self.shut = threading.Event()  # the second daemon's clients have the ledger now
        self.late = []
        self.start()

    def attempt(self, wire, change):
        uid = carry_out(wire, self.ledger.name, change)
        self.last = time.monotonic()
        if self.shut.is_set():
            self.late.append(change["kind"])
        else:
            self.ledger.acknowledged(change, uid)

    def run(self):
        change, wire = None, None
        while not self.ending.is_set():
            change = change or self.ledger.next_change()
            try:
                wire = wire or Wire(self.daemon_at.socket)
                self.attempt(wire, change)
                change = None
            except Refused as refused:
                self.refusals.append(str(refused))
                if refused.code not in RETRYABLE:
                    self.wrong.append(f"{self.ledger.name} {change['kind']}: {refused.code} {refused}")
            except OSError as error:  # the connection ended, or nobody listens any more
                self.refusals.append(str(error))
                if wire is not None:
                    wire.socket.close()
                wire = None
            time.sleep(APART if change is None else 0.1)
        if wire is not None:
            wire.socket.close()


@unittest.skipIf(ganesha.why_unavailable(), f"NOT TESTED: {ganesha.why_unavailable()}")
class TakeoverCase(unittest.TestCase):
    version = 3

    def setUp(self):
        reason = why_no_hosts()
        if reason:
            self.skipTest("NOT TESTED: " + reason)
        self.directory = tempfile.mkdtemp(prefix="canopy-takeover.")
        self.addCleanup(lambda: shutil.rmtree(self.directory, ignore_errors=True))
        self.server = ganesha.Ganesha(os.path.join(self.directory, "nfs"), host="0.0.0.0")
        self.addCleanup(self.server.kill)
        self.server.start()
        self.daemons, self.ledgers = 0, []

    def start_daemon(self):
        self.daemons += 1
        daemon = Daemon(os.path.join(self.directory, str(self.daemons)), self.server, self.version)
        self.addCleanup(lambda: daemon.process.poll() is None and daemon.end())
        return daemon

    def make_accounts(self, daemon):
        ledgers = [Ledger(f"user{len(self.ledgers) + number}@{DOMAIN}") for number in range(ACCOUNTS)]
        for ledger in ledgers:
            subprocess.run([os.path.join(BIN, "canopyctl"), "--server", "unix:" + daemon.socket, "account", "create", ledger.name,
                            "--no-password"], check=True, timeout=60, capture_output=True)
        self.ledgers += ledgers
        return ledgers

    def held_against(self, daemon, ledgers):
        """All that is there is what was acknowledged, exactly."""
        with Wire(daemon.socket) as wire:
            for ledger in ledgers:
                self.assertIsNone(ledger.unknown)
                self.assertEqual(*map(short, (seen(wire, ledger.name), (ledger.messages, ledger.settings))), ledger.name)

    def taken_up(self, daemon, ledger):
        """What was acknowledged is there, exactly once; then the change that was not is said again, under its request id."""
        with Wire(daemon.socket) as wire:
            messages, settings = seen(wire, ledger.name)
            for uid, message in ledger.messages.items():
                if not (ledger.unknown and ledger.unknown.get("uid") == uid):
                    self.assertEqual(short(messages.get(uid)), short(message), f"{ledger.name} {uid}")
            found = short((sorted(messages.values()), settings))
            expected = [short((sorted(ledger.messages.values()), ledger.settings))]
            if ledger.unknown:
                expected.append(short(ledger.as_if_done()))
            if found not in expected:
                self.assertEqual(found, expected[-1], f"{ledger.name}, not known: {short(ledger.unknown)}")
            if ledger.unknown:
                ledger.acknowledged(ledger.unknown, carry_out(wire, ledger.name, ledger.unknown))
            self.assertEqual(short(seen(wire, ledger.name)), short((ledger.messages, ledger.settings)), ledger.name)

    def round(self, first, how):
        """Answers the second daemon, which serves alone."""
        ledgers = self.make_accounts(first)
        clients = [Client(first, ledger) for ledger in ledgers]
        time.sleep(random.uniform(0.5, 1.5))
        first.hold(how)
        second = self.start_daemon()
        for client in clients:
            client.shut.set()
        for ledger in ledgers:
            self.taken_up(second, ledger)
        others = [Client(second, ledger) for ledger in ledgers]
        time.sleep(random.uniform(0.1, 0.5))
        first.let_go()
        try:
            status = first.process.wait(120)
        except subprocess.TimeoutExpired:
            self.fail("the first goes on: " + first.logged())
        time.sleep(0.3)
        for client in (*clients, *others):
            client.ending.set()
        for client in (*clients, *others):
            client.join(60)
            self.assertFalse(client.is_alive())
            self.assertEqual(client.wrong, [])
        self.assertEqual([client.late for client in clients], [[]] * ACCOUNTS)
        self.assertLess(max(client.last for client in clients), second.serves_since)
        self.assertTrue(all(client.refusals for client in clients))
        self.assertTrue(all(client.last > second.serves_since for client in others))
        self.assertEqual([client.refusals for client in others], [[]] * ACCOUNTS)
        self.assertEqual(status, FENCED)
        self.assertRegex(first.logged(), r"beat-failed .*generation \d+ has taken over")
        first.end()
        self.held_against(second, ledgers)
        return second

    def rounds(self, version):
        self.version = version
        daemon = self.start_daemon()
        subprocess.run([os.path.join(BIN, "canopyctl"), "--server", "unix:" + daemon.socket, "domain", "create", DOMAIN],
                       check=True, timeout=60, capture_output=True)
        for number in range(ROUNDS // 2 or 1):
            how = ("stopped", "cut off")[(number + version) % 2]
            try:
                daemon = self.round(daemon, how)
            except AssertionError as error:
                raise AssertionError(f"round {number}, {how}: {error}") from error
        self.held_against(daemon, self.ledgers)
        self.assertEqual(daemon.stop(), 0)
        again = self.start_daemon()
        self.held_against(again, self.ledgers)
        self.assertEqual(again.stop(), 0)
        for each in (daemon, again):
            each.end()


def short(seen_of_it):
    """Long contents, made readable in a failure's text."""
    if isinstance(seen_of_it, bytes):
        return f"{seen_of_it[:40]} {len(seen_of_it)} {hash(seen_of_it) & 0xFFFF:x}"
    if isinstance(seen_of_it, dict):
        return {key: short(value) for key, value in seen_of_it.items()}
    if isinstance(seen_of_it, (list, tuple)):
        return [short(each) for each in seen_of_it]
    return seen_of_it


class Takeover3(TakeoverCase):
    def test_the_first_acknowledges_nothing_more_and_changes_nothing_nfs3(self):
        self.rounds(3)


class Takeover4(TakeoverCase):
    def test_the_first_acknowledges_nothing_more_and_changes_nothing_nfs4(self):
        self.rounds(4)


if __name__ == "__main__":
    unittest.main()
