"""A small client of the wire protocol (docs/protocol), for what canopyctl has no command for.

Messages are dicts from field numbers (daemon/wire/canopy.proto) to an int, a str, bytes, a dict, or a list of
these.
"""
import os
import socket
import struct

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
TIMEOUT_NANOSECONDS = 60 * 10**9
CHUNK_BYTES = 1048576


class Refused(Exception):
    """The daemon's answer was a failure, with a code of google.rpc.Code."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


def varint(value):
    value &= 2**64 - 1  # negative numbers are two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode(message):
    return b"".join(encode_field(number, each) for number, value in message.items()
                    for each in (value if isinstance(value, list) else [value]))


def encode_field(number, value):
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    data = encode(value) if isinstance(value, dict) else value.encode() if isinstance(value, str) else value
    return varint(number << 3 | LENGTH) + varint(len(data)) + data


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def decode(data):
    """Each field's values in a list: ints, or bytes for whatever has a length."""
    found, at = {}, 0
    while at < len(data):
        tag, at = read_varint(data, at)
        if tag & 7 == VARINT:
            value, at = read_varint(data, at)
        elif tag & 7 == LENGTH:
            length, at = read_varint(data, at)
            value, at = data[at:at + length], at + length
        else:
            width = {FIXED64: 8, FIXED32: 4}[tag & 7]
            value, at = data[at:at + width], at + width
        found.setdefault(tag >> 3, []).append(value)
    return found


def numbers(values):
    """A repeated number, packed or not."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = read_varint(value, at)
            found.append(number)
    return found


def signed(value):
    return value - 2**64 if value >= 2**63 else value


class Wire:
    """One connection over the daemon's Unix socket. Use as a context manager."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.stream = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("the daemon ended the connection")
            data += piece
        return data

    def call(self, method, message):
        """`method` as "Mailboxes.List"; the decoded answer."""
        service, name = method.split(".")
        body = encode({1: "canopy.v1." + service, 2: name, 3: encode(message), 4: TIMEOUT_NANOSECONDS})
        self.socket.sendall(struct.pack(">IIBB", len(body), self.stream, 1, 0) + body)
        self.stream += 2
        length, = struct.unpack(">I", self.receive(10)[:4])
        answer = decode(self.receive(length))
        status = decode(answer[1][0]) if 1 in answer else {}
        if status.get(1, [0])[0] != 0:
            raise Refused(f"{method}: {status[2][0].decode()}", status[1][0])
        return decode(answer.get(2, [b""])[0])

    # -------------------------------------------------------- methods of Mailboxes
    def append(self, account, mailbox, content, system=0, keywords=(), date=0, zone=0, request=None):
        """Answers the UID. A large message goes up in parts first."""
        message = {1: {1: account}, 2: mailbox, 5: {1: system, 2: list(keywords)}, 6: date, 7: zone,
                   8: request or os.urandom(16)}
        if len(content) <= CHUNK_BYTES:
            message[3] = content
        else:
            message[4] = self.upload(account, content)
        return self.call("Mailboxes.Append", message)[1][0]

    def upload(self, account, content):
        number, = self.call("Mailboxes.OpenUpload", {2: {1: account}, 3: len(content)})[1]
        for at in range(0, len(content), CHUNK_BYTES):
            self.call("Mailboxes.Upload", {1: number, 2: at, 3: content[at:at + CHUNK_BYTES]})
        return number

    def store_flags(self, account, mailbox, uids, mode, system=0, keywords=(), request=None):
        """`mode`: 0 replace, 1 add, 2 remove; `uids`: pairs of first and last."""
        self.call("Mailboxes.StoreFlags",
                  {1: {1: account}, 2: mailbox, 4: ranges(uids), 5: mode,
                   6: {1: system, 2: list(keywords)}, 8: request or os.urandom(16)})

    def expunge(self, account, mailbox, uids):
        self.call("Mailboxes.Expunge",
                  {1: {1: account}, 2: mailbox, 4: ranges(uids), 6: os.urandom(16)})

    def copy(self, account, source, target, uids, move=False):
        self.call("Mailboxes.Copy",
                  {1: {1: account}, 2: source, 3: target, 4: ranges(uids), 5: int(move), 6: os.urandom(16)})

    def subscribe(self, account, name, on=True):
        self.call("Mailboxes.Subscribe", {1: {1: account}, 2: name, 3: int(on), 4: os.urandom(16)})

    def messages(self, account, mailbox):
        """The rows of a mailbox as dicts."""
        rows, after = [], 0
        while True:
            answer = self.call("Mailboxes.ListMessages", {1: {1: account}, 2: mailbox, 4: after})
            rows += [decode(each) for each in answer.get(5, [])]
            if answer.get(6, [0])[0]:
                return [row_of(row) for row in rows]
            after = rows[-1][1][0]

    def vanished(self, account, mailbox, since):
        """(UIDs that were expunged since that modseq, whether there may be more)."""
        answer = self.call("Mailboxes.ListMessages", {1: {1: account}, 2: mailbox, 6: since})
        gone = [decode(each) for each in answer.get(7, [])]
        return {uid for each in gone for uid in range(each[1][0], each[2][0] + 1)}, bool(answer.get(8, [0])[0])

    def mailboxes(self, account):
        """The mailboxes that are there, by their names; one that is only promised (INBOX) has no UIDVALIDITY and is left out."""
        rows = [decode(each) for each in self.call("Mailboxes.List", {1: account}).get(1, [])]
        names = ("id", "name", "uidvalidity", "uidnext", "highest_modseq")
        found = [{name: row.get(number, [0])[0] for number, name in enumerate(names, 1)} for row in rows if 3 in row]
        return sorted(({**row, "name": row["name"].decode()} for row in found), key=lambda row: row["name"])

    def account_modseq(self, account):
        return self.call("Events.Watch", {1: {1: account}, 3: 1})[2][0]

    def fetch(self, account, mailbox, uid):
        """A whole message of at most one chunk."""
        return self.call("Mailboxes.Fetch", {1: {1: account}, 2: mailbox, 4: uid}).get(1, [b""])[0]

    def subscriptions(self, account):
        return sorted(name.decode() for name in self.call("Mailboxes.List", {1: account}).get(2, []))

    # -------------------------------------------------------- the account
    def set_settings(self, account, text, request=None):
        """Merges a dictionary."""
        self.call("Info.Set", {1: {1: account}, 3: text, 6: request or os.urandom(16)})

    def settings(self, account):
        return self.call("Info.Get", {1: {1: account}})[1][0].decode()

    def locate(self, account):
        answer = self.call("Directory.Locate", {1: account})
        names = ("store", "account_directory", "settings_file", "settings_store", "info_file")
        return {name: answer[number][0].decode() for number, name in enumerate(names, 1)}

    def compact(self, account):
        self.call("Cluster.CompactAccount", {1: account})

    def close_account(self, account):
        self.call("Cluster.CloseAccount", {1: account})


def ranges(uids):
    return [{1: first, 2: last} for first, last in uids]


def row_of(row):
    first = {number: values[0] for number, values in row.items()}
    return {"uid": first[1], "size": first.get(2, 0), "modseq": first.get(3, 0),
            "date": signed(first.get(4, 0)), "zone": signed(first.get(5, 0)), "system": first.get(6, 0),
            "keywords": [keyword.decode() for keyword in row.get(7, [])]}
