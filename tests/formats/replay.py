"""What an account's records come to: docs/formats/account-log.md, "Replay"."""
from dataclasses import dataclass, field, replace

import records

EXPUNGES_MAX = 16384
REQUESTS_MAX = 65536
REQUEST_NANOSECONDS = 3600 * 10**9
UID_MAX = 2**32 - 1
SYSTEM_FLAGS = sum(records.SYSTEM_FLAGS)


def keyword_set(ids):
    return tuple(sorted(set(ids)))


@dataclass(frozen=True)
class Row:
    """A message of a mailbox as it is now. `place` is its Message record's: (slice number, offset)."""
    uid: int
    size: int
    modseq: int
    date: int
    zone: int
    flags: int
    keywords: tuple  # ids, rising
    place: tuple


@dataclass
class Mailbox:
    id: int
    name: str
    uidvalidity: int
    created: int  # modseq
    uidnext: int = 1
    highest_modseq: int = 0
    floor: int = 0
    rights: dict = field(default_factory=dict)
    expunged: list = field(default_factory=list)  # (modseq, first, last), the oldest first
    messages: dict = field(default_factory=dict)  # by UID

    def raise_uidnext(self, uid):
        """To what follows this UID, if anything can."""
        if uid != UID_MAX:
            self.uidnext = max(self.uidnext, uid + 1)

    def uids_in(self, first, last):
        if last - first < len(self.messages):
            return [uid for uid in range(first, last + 1) if uid in self.messages]
        return sorted(uid for uid in self.messages if first <= uid <= last)


@dataclass
class State:
    """All that replay gives."""
    mailboxes: dict = field(default_factory=dict)   # by id
    keywords: dict = field(default_factory=dict)    # name by id
    subscriptions: set = field(default_factory=set)
    requests: dict = field(default_factory=dict)    # (time, Result) by id, the oldest first
    next_mailbox: int = 1
    last_uidvalidity: int = 0
    highest_modseq: int = 0

    def forget_requests(self, now):
        """`now` in nanoseconds: "Remembered requests are forgotten an hour after their time"."""
        kept = [item for item in self.requests.items() if item[1][0] + REQUEST_NANOSECONDS > now]
        self.requests = dict(kept[-REQUESTS_MAX:])

    def facts(self, now):
        """What another way to the same state must give too: all but the times of requests, which a checkpoint
        has from the frames."""
        self.forget_requests(now)
        return {**vars(self), "requests": {request: result for request, (_, result) in self.requests.items()}}

    def size(self):
        return sum(row.size for mailbox in self.mailboxes.values() for row in mailbox.messages.values())


class Replay:
    """Applies frames to a state. At a bad record `bad_form(slice number, record, error)` is called, raising."""

    def __init__(self, bad_form, state=None, known=()):
        """`known`: ids of mailboxes that were made or deleted before."""
        self.state, self.bad_form, self.known = state or State(), bad_form, set(known)
        self.rules = {
            records.MAILBOX_CREATE: self.create, records.MAILBOX_RENAME: self.rename,
            records.MAILBOX_DELETE: self.delete, records.SUBSCRIBE: self.subscribe,
            records.MAILBOX_RIGHTS: self.set_rights, records.KEYWORD_DEFINE: self.define_keyword,
            records.UIDNEXT: self.set_uidnext, records.MODSEQ_FLOOR: self.raise_floor,
            records.COUNTER: self.count}

    def frame(self, slice_number, frame):
        messages = []
        for record in frame.records:
            try:
                if record.type == records.MESSAGE:
                    message = records.message(record.body)
                    self.recover(message.mailbox, frame.header.time)
                    messages.append(self.message(message, (slice_number, record.offset)))
                else:
                    self.record(record)
            except records.FormError as error:
                self.bad_form(slice_number, record, error)
        if any(frame.header.request):
            self.remember(frame.header.request, frame.header.time, self.delivery_result(messages))

    def record(self, record):
        if record.type in self.rules:
            self.rules[record.type](*records.simple(record.type, record.body))
        elif record.type == records.FLAGS_CHANGE:
            self.change_flags(*records.flags_change(record.body))
        elif record.type == records.EXPUNGE:
            self.expunge(*records.expunge(record.body))
        elif record.type == records.REQUEST_REMEMBERED:
            self.remember(*records.request_remembered(record.body))

    def mailbox(self, number, modseq, raises_it=True):
        """The mailbox of a record, its modseq raised; None, and nothing raised, if it is not there."""
        mailbox = self.state.mailboxes.get(number)
        if mailbox:
            self.raise_modseq(modseq)
            if raises_it:
                mailbox.highest_modseq = max(mailbox.highest_modseq, modseq)
        return mailbox

    def raise_modseq(self, modseq):
        self.state.highest_modseq = max(self.state.highest_modseq, modseq)

    # -------------------------------------------------------- mailboxes
    def create(self, number, uidvalidity, modseq, name):
        self.known.add(number)
        state = self.state
        state.next_mailbox = max(state.next_mailbox, number + 1)
        state.last_uidvalidity = max(state.last_uidvalidity, uidvalidity)
        mailbox = state.mailboxes.setdefault(number, Mailbox(number, name, uidvalidity, modseq))
        mailbox.name, mailbox.uidvalidity, mailbox.created = name, uidvalidity, modseq
        self.mailbox(number, modseq)

    def rename(self, number, _, modseq, name):
        mailbox = self.mailbox(number, modseq, raises_it=False)
        if mailbox:
            mailbox.name = name

    def delete(self, number, _, modseq):
        self.known.add(number)
        self.raise_modseq(modseq)
        self.state.mailboxes.pop(number, None)

    def recover(self, number, time):
        """Makes the mailbox of a message where the frame that made it is damaged."""
        if number == 0 or number in self.known:
            return
        name = "INBOX" if number == 1 else f"Recovered-{number}"
        while any(mailbox.name == name for mailbox in self.state.mailboxes.values()):
            name += "+"
        self.create(number, max(time // 10**9, self.state.last_uidvalidity + 1), 0, name)

    def set_rights(self, number, identifier, rights):
        mailbox = self.state.mailboxes.get(number)
        if mailbox and rights:
            mailbox.rights[identifier] = rights
        elif mailbox:
            mailbox.rights.pop(identifier, None)

    def set_uidnext(self, number, uidnext, uidvalidity, _, modseq):
        mailbox = self.mailbox(number, modseq)
        if mailbox:
            mailbox.uidnext = max(mailbox.uidnext, uidnext)
            mailbox.uidvalidity = uidvalidity or mailbox.uidvalidity
            self.state.last_uidvalidity = max(self.state.last_uidvalidity, uidvalidity)

    def raise_floor(self, number, _, modseq):
        mailbox = self.state.mailboxes.get(number)
        if mailbox:
            mailbox.floor = max(mailbox.floor, modseq)
            mailbox.expunged = [each for each in mailbox.expunged if each[0] > mailbox.floor]

    # -------------------------------------------------------- the account
    def subscribe(self, on, name):
        if on not in (0, 1):
            raise records.FormError(f"neither on nor off, but {on}")
        if on:
            self.state.subscriptions.add(name)
        else:
            self.state.subscriptions.discard(name)

    def define_keyword(self, number, _, name):
        self.state.keywords[number] = name

    def count(self, next_mailbox, uidvalidity, modseq):
        state = self.state
        state.next_mailbox = max(state.next_mailbox, next_mailbox)
        state.last_uidvalidity = max(state.last_uidvalidity, uidvalidity)
        self.raise_modseq(modseq)

    # -------------------------------------------------------- messages
    def message(self, message, place):
        mailbox = self.mailbox(message.mailbox, message.modseq)
        if mailbox:
            mailbox.messages[message.uid] = Row(
                message.uid, message.size, message.modseq, message.date, message.zone,
                message.flags & SYSTEM_FLAGS, keyword_set(message.keywords), place)
            mailbox.raise_uidnext(message.uid)
        return message

    def change_flags(self, number, modseq, groups):
        mailbox = self.mailbox(number, modseq)
        for flags, keywords, ranges in groups if mailbox else []:
            for uid in [uid for each in ranges for uid in mailbox.uids_in(*each)]:
                row = mailbox.messages[uid]
                mailbox.messages[uid] = replace(row, modseq=max(row.modseq, modseq), flags=flags & SYSTEM_FLAGS,
                                                keywords=keyword_set(keywords))

    def expunge(self, number, modseq, ranges):
        mailbox = self.mailbox(number, modseq)
        for first, last in ranges if mailbox else []:
            for uid in mailbox.uids_in(first, last):
                del mailbox.messages[uid]
            mailbox.raise_uidnext(last)
            mailbox.expunged.append((modseq, first, last))
            if len(mailbox.expunged) > EXPUNGES_MAX:
                mailbox.floor = max(mailbox.floor, mailbox.expunged.pop(0)[0])

    # -------------------------------------------------------- requests
    def remember(self, request, time, result):
        self.state.requests.setdefault(request, (time, result))

    def delivery_result(self, messages):
        """What a frame with a request id says when no record remembers it."""
        if not messages:
            return records.Result()
        last = messages[-1]
        mailbox = self.state.mailboxes.get(last.mailbox)
        return records.Result(last.mailbox, mailbox.uidvalidity if mailbox else 0, last.modseq,
                              tuple((message.uid, message.uid) for message in messages))
