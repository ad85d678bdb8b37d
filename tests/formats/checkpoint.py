"""Reads checkpoints, the derived state beside the slices: docs/formats/checkpoint.md."""
import os
import re
import struct
from dataclasses import dataclass

import records
from replay import Mailbox, Row, State
from slices import Seed

CHECKPOINT_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.checkpoint")
MAGIC, PAYLOAD_VERSION = b"CNPYCHK2", 2
HEADER, ENTRY, CHECKSUM = struct.Struct("<8sIIQQ"), struct.Struct("<IB3xQQ"), struct.Struct("<I")
ROW, REQUEST = struct.Struct("<IIQqQIIIHh"), struct.Struct("<16sqII")
REFERS = 0x8000  # of a row's system flags


class CheckpointError(Exception):
    """The file is no checkpoint; says why."""


@dataclass(frozen=True)
class Entry:
    number: int
    kind: int
    epoch: int
    length: int


@dataclass(frozen=True)
class Checkpoint:
    name: str
    entries: list
    head: bytes
    body: bytes

    def state(self):
        try:
            return read_payload(records.Body(self.head), records.Body(self.body))
        except records.FormError as error:
            raise CheckpointError(f"the payload is {error}") from error


def list_checkpoints(directory):
    """(epoch, number, name), the highest first."""
    matches = [match for match in map(CHECKPOINT_NAME.fullmatch, os.listdir(directory)) if match]
    return sorted(((int(match[2], 16), int(match[1], 16), match[0]) for match in matches), reverse=True)


def read_checkpoint(data, epoch, number, name, secret):
    """"File": the checkpoint in these bytes of one."""
    if len(data) < HEADER.size:
        raise CheckpointError(f"only {len(data)} bytes long")
    magic, count, _, head, body = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise CheckpointError("it does not begin with " + MAGIC.decode())
    if count == 0:
        raise CheckpointError("it covers no slice")
    begin = HEADER.size + count * ENTRY.size
    body_at = begin + head + CHECKSUM.size
    if len(data) != body_at + body + CHECKSUM.size:
        raise CheckpointError("longer or shorter than its parts")
    seed = Seed(secret, number, epoch)
    for what, at, end in ("front", 0, begin + head), ("body", body_at, body_at + body):
        if CHECKSUM.unpack_from(data, end)[0] != seed.checksum(at, data[at:end]):
            raise CheckpointError(f"the checksum of its {what} is another")
    entries = [Entry(*fields) for fields in ENTRY.iter_unpack(data[HEADER.size:begin])]
    return Checkpoint(name, entries, data[begin:begin + head], data[body_at:body_at + body])


def counts(checkpoint, manifest):
    """"When it counts"."""
    replayed = [entry for entry in manifest.entries if entry.replayed]
    if not 1 <= len(checkpoint.entries) <= len(replayed):
        return False
    for at, (mine, its) in enumerate(zip(checkpoint.entries, replayed)):
        if (mine.number, mine.kind, mine.epoch) != (its.number, its.kind, its.epoch):
            return False
        is_last = at == len(checkpoint.entries) - 1
        if mine.length > its.length or not is_last and mine.length != its.length:
            return False
    return True


# -------------------------------------------------------- payload
def read_payload(head, body):
    version, next_mailbox, last_uidvalidity, highest_modseq = head.numbers("IIIQ")
    if version != PAYLOAD_VERSION:
        raise CheckpointError(f"its payload has version {version}")
    names = [head.sized_text() for _ in range(head.varint())]
    sets = [head.numbers(f"{head.varint()}H") for _ in range(head.varint())]
    state = State(next_mailbox=next_mailbox, last_uidvalidity=last_uidvalidity, highest_modseq=highest_modseq)
    state.keywords = {number: name for number, name in enumerate(names) if name}
    state.subscriptions = {head.sized_text() for _ in range(head.varint())}
    read_requests(body, *head.numbers("II"), state.requests)
    for _ in range(head.varint()):
        mailbox, messages = read_mailbox(head)
        state.mailboxes[mailbox.id] = mailbox
        for _ in range(messages):
            read_row(body, sets, mailbox.messages)
    head.end()
    body.end()
    return state


def read_requests(body, count, result_bytes, requests):
    rows = [REQUEST.unpack(body.take(REQUEST.size)) for _ in range(count)]
    end = 0
    for request, time, at, length in rows:
        if at != end:
            raise CheckpointError(f"a result is said to be at {at} and not behind the one before, at {end}")
        requests[request] = time, records.result(body.take(length))
        end += length
    if end != result_bytes:
        raise CheckpointError(f"there are {end} bytes of results and not {result_bytes}")


def read_mailbox(head):
    """The mailbox without its messages, and how many they are."""
    number, uidvalidity, uidnext, created, highest_modseq, floor = head.numbers("IIIQQQ")
    mailbox = Mailbox(number, head.sized_text(), uidvalidity, created, uidnext, highest_modseq, floor)
    for _ in range(head.varint()):
        identifier = head.sized_text()
        mailbox.rights[identifier] = head.sized_text()
    mailbox.expunged = [head.numbers("QII") for _ in range(head.number("Q"))]
    return mailbox, head.number("Q")


def read_row(body, sets, messages):
    uid, size, modseq, date, offset, number, _, keywords, flags, zone = ROW.unpack(body.take(ROW.size))
    if keywords >= len(sets):
        raise CheckpointError(f"keyword set {keywords} is not there")
    messages[uid] = Row(uid, size, modseq, date, zone, flags & ~REFERS, sets[keywords], (number, offset))
