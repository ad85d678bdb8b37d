"""LMTP and POP3 load on groups of accounts, a process for each group, and what became of every request.

A message's subject is a number of its own; what was acknowledged is held against what is there at the end, over POP3.
"""
import base64
import collections
import ctypes
import multiprocessing
import os
import re
import ssl
import threading
import time

from mail_case import Lines

OK, TEMPORARY, WRONG = "ok", "temporary", "wrong"
LINE = "line of text\r\n"
CREATED_AT_ONCE = 1000  # of a busy machine, within the time that a command has
PAUSE_SECONDS = 0.02  # between two requests of a client: the load is to be even, not the most there can be
SUBJECT = re.compile(rb"^Subject: ([a-z0-9.-]+)\r?$", re.MULTILINE)

# begun and ended: time.monotonic(), which all processes share. `what`: "lmtp" or "pop3". words: of the last answer.
Request = collections.namedtuple("Request", "begun ended what account outcome words")

forked = multiprocessing.get_context("fork")


def cheap_hash(password):
    """What libsodium keeps of a password, so that it is quickly tried: ten thousand logins are not to measure argon2id."""
    sodium = ctypes.CDLL("libsodium.so.23")
    sodium.sodium_init()
    out = ctypes.create_string_buffer(128)
    words = password.encode()
    if sodium.crypto_pwhash_str(out, words, ctypes.c_ulonglong(len(words)), ctypes.c_ulonglong(1), ctypes.c_size_t(8192)):
        raise MemoryError("crypto_pwhash_str")
    return out.value.decode()


def create_accounts(stack, names, password):
    """Full names, of domains that are there."""
    for first in range(0, len(names), CREATED_AT_ONCE):
        create_some_accounts(stack, names[first:first + CREATED_AT_ONCE], password)


def create_some_accounts(stack, names, password):
    path = os.path.join(stack.directory, "accounts.csv")
    unused = "[" + base64.b64encode(bytes(32)).decode() + "]"  # nobody here logs in with SCRAM
    kept = (f'"{{Password={{Argon2=""{cheap_hash(password)}"";ScramIterations=#4096;ScramSalt={unused};'
            f'ScramStoredKey={unused};ScramServerKey={unused};}};}}"')
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{name},,{kept}\n" for name in names)
    stack.ctl("account", "create", "--from-csv", path)


class Client(threading.Thread):
    """Asks in a loop until it is over."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self.group, self.requests, self.number = group, [], 0

    def run(self):
        while not self.group.over.is_set():
            account = self.group.accounts[self.at()]
            self.number += 1
            begun = time.monotonic()
            try:
                outcome, words = self.ask(account)
            except OSError as error:  # the frontend lives: it has an answer always
                outcome, words = WRONG, repr(error)
                self.reset()
            self.group.note(self.requests, Request(begun, time.monotonic(), self.what, account, outcome, words))
            time.sleep(PAUSE_SECONDS)

    def reset(self):
        pass


class Deliverer(Client):
    what = "lmtp"

    def __init__(self, group, index, count):
        super().__init__(group)
        self.index, self.count, self.lines = index, count, None

    def at(self):  # a part of the accounts is its own
        own = range(self.index, len(self.group.accounts), self.count)
        return own[self.number % len(own)]

    def reset(self):
        if self.lines is not None:
            self.lines.__exit__()
        self.lines = None

    def connect(self):
        self.lines = Lines(self.group.lmtp)
        self.lines.reply()
        self.lines.ask("LHLO load.example")

    def ask(self, account):
        if self.lines is None:
            self.connect()
        subject = f"{self.group.name}.{self.index}.{self.number}"
        self.lines.send(f"MAIL FROM:<sender@example.org>\r\nRCPT TO:<{account}>\r\nDATA\r\n")
        replies = [self.lines.reply() for _ in range(3)]
        if replies[2].startswith("354"):
            self.lines.send(f"Subject: {subject}\r\n\r\n" + LINE * (self.number % 100) + ".\r\n")
            replies.append(self.lines.reply())
        else:
            replies = [reply for reply in replies if not reply.startswith("2")][:1]
            self.lines.ask("RSET")
        answer = replies[-1].strip()
        if answer.startswith("250"):
            self.group.acknowledged[account].append(subject)
        if not answer:
            self.reset()
        return (OK if answer.startswith("250") else TEMPORARY if answer.startswith("4") else WRONG), answer


class Reader(Client):
    """Opens maildrops and reads their newest messages; never fewer than were acknowledged before."""
    what = "pop3"

    def at(self):
        return self.number % len(self.group.accounts)

    def ask(self, account):
        due = len(self.group.acknowledged[account])
        with Lines(self.group.pop3s, self.group.tls) as pop:
            pop.line()
            for command in (f"USER {account}", f"PASS {self.group.password}", "STAT"):
                pop.send(command + "\r\n")
                answer = pop.line().strip()
                if not answer.startswith("+OK"):
                    return self.refused(answer)
            count = int(answer.split()[1])
            if count < due:
                return WRONG, f"STAT says {count}, {due} were acknowledged"
            for number in range(max(1, count - 2), count + 1):
                pop.send(f"RETR {number}\r\n")
                answer = pop.line().strip()
                if not answer.startswith("+OK"):
                    return self.refused(answer)
                while (line := pop.line()) != ".\r\n":
                    if not line:  # in the midst of a message nothing else can say that the rest does not come
                        return TEMPORARY, "cut within a message"
            pop.send("QUIT\r\n")
            answer = pop.line().strip()
            return (OK, answer) if answer.startswith("+OK") else self.refused(answer)

    @staticmethod
    def refused(answer):
        return (TEMPORARY if answer.startswith(("-ERR [SYS/TEMP]", "-ERR [IN-USE]")) else WRONG), answer


class Group:
    """The accounts of one server under load, in a process of their own."""

    def __init__(self, stack, name, accounts, password, deliverers=2, readers=1):
        self.name, self.accounts, self.password = name, accounts, password
        self.lmtp, self.pop3s, self.tls = stack.address("lmtp"), stack.address("pop3s"), stack.tls()
        self.tls.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        self.clients = (deliverers, readers)
        self.acknowledged = {account: [] for account in accounts}
        self.requests = []
        # Of what is seen from outside while it goes on: how many requests ended in each way.
        self.counts = {outcome: forked.Value("q", 0) for outcome in (OK, TEMPORARY, WRONG)}
        self.over = forked.Event()
        self.answer, self.other_end = forked.Pipe(duplex=False)
        self.process = forked.Process(target=self.work, daemon=True)

    def start(self):
        self.process.start()
        self.other_end.close()
        return self

    def note(self, requests, request):
        requests.append(request)
        value = self.counts[request.outcome]
        with value.get_lock():
            value.value += 1

    def count(self, outcome):
        return self.counts[outcome].value

    def answered(self):
        return sum(value.value for value in self.counts.values())

    def work(self):
        deliverers, readers = self.clients
        clients = [Deliverer(self, index, deliverers) for index in range(deliverers)] + [Reader(self) for _ in range(readers)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
            client.reset()
        requests = sorted(request for client in clients for request in client.requests)
        self.other_end.send((requests, self.acknowledged))

    def finish(self):
        """Waits for what is under way; `requests` and `acknowledged` are known then."""
        self.over.set()
        self.requests, self.acknowledged = self.answer.recv()
        self.process.join()
        return self


def subjects_in(stack, account, password):
    """Of all messages of an account, over POP3, with how often each is there."""
    found = collections.Counter()
    with Lines(stack.address("pop3s"), stack.tls()) as pop:
        pop.line()
        for command in (f"USER {account}", f"PASS {password}", "STAT"):
            pop.send(command + "\r\n")
            answer = pop.line()
            if not answer.startswith("+OK"):
                raise ConnectionError(f"{account}: {command.split()[0]}: {answer.strip()}")
        count = int(answer.split()[1])
        for first in range(1, count + 1, 100):
            numbers = range(first, min(first + 100, count + 1))
            pop.send("".join(f"TOP {number} 0\r\n" for number in numbers))
            for number in numbers:
                lines = []
                while (line := pop.file.readline()) != b".\r\n":
                    if not line or (not lines and not line.startswith(b"+OK")):
                        raise ConnectionError(f"{account}: TOP {number}: {line!r}")
                    lines.append(line)
                found[SUBJECT.search(b"".join(lines))[1].decode()] += 1
        pop.send("QUIT\r\n")
        pop.line()
    return found


def not_kept(stack, group):
    """Sentences about acknowledged messages that are not there exactly once, and others that are there twice."""
    wrong = []
    for account in group.accounts:
        found = subjects_in(stack, account, group.password)
        wrong += [f"{account}: {subject} was acknowledged and is there {found[subject]} times"
                  for subject in group.acknowledged[account] if found[subject] != 1]
        wrong += [f"{account}: {subject} is there {times} times" for subject, times in found.items() if times > 1]
    return wrong


def figures(requests, begin, end):
    """(requests that ended well a second, their p99 in ms) of those that ended within [begin, end)."""
    took = sorted(request.ended - request.begun for request in requests
                  if begin <= request.ended < end and request.outcome == OK)
    if not took:
        return 0.0, 0.0
    return len(took) / (end - begin), 1000 * took[min(len(took) - 1, len(took) * 99 // 100)]
