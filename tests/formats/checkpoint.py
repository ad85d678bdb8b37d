"""Reads checkpoints, the derived state beside the slices: docs/formats/checkpoint.md."""
import os
import re
import struct
from dataclasses import dataclass

import records
from replay import Mailbox, Row, State
from slices import Seed

CHECKPOINT_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.checkpoint")
MAGIC, PAYLOAD_VERSION = b"CNPYCHK1", 1
HEADER, ENTRY, ROW = struct.Struct("<8sIIQ"), struct.Struct("<IB3xQQ"), struct.Struct("<IIQqQIIIHh")
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
    payload: bytes

    def state(self):
        try:
            return read_payload(records.Body(self.payload))
        except records.FormError as error:
            raise CheckpointError(f"the payload is {error}") from error


def list_checkpoints(directory):
    """(epoch, number, name), the highest first."""
    matches = [match for match in map(CHECKPOINT_NAME.fullmatch, os.listdir(directory)) if match]
    return sorted(((int(match[2], 16), int(match[1], 16), match[0]) for match in matches), reverse=True)


def read_checkpoint(data, epoch, number, name, secret):
    """"File": the checkpoint in these bytes of one."""
    if len(data) < HEADER.size + 4:
        raise CheckpointError(f"only {len(data)} bytes long")
    magic, count, _, payload = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise CheckpointError("it does not begin with " + MAGIC.decode())
    if count == 0:
        raise CheckpointError("it covers no slice")
    begin = HEADER.size + count * ENTRY.size
    if len(data) != begin + payload + 4:
        raise CheckpointError("longer or shorter than its parts")
    if struct.unpack_from("<I", data, len(data) - 4)[0] != Seed(secret, number, epoch).checksum(0, data[:-4]):
        raise CheckpointError("its checksum is another")
    entries = [Entry(*fields) for fields in ENTRY.iter_unpack(data[HEADER.size:begin])]
    return Checkpoint(name, entries, data[begin:-4])


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
def read_payload(body):
    version, next_mailbox, last_uidvalidity, highest_modseq = body.numbers("IIIQ")
    if version != PAYLOAD_VERSION:
        raise CheckpointError(f"its payload has version {version}")
    names = [body.sized_text() for _ in range(body.varint())]
    sets = [body.numbers(f"{body.varint()}H") for _ in range(body.varint())]
    state = State(next_mailbox=next_mailbox, last_uidvalidity=last_uidvalidity, highest_modseq=highest_modseq)
    state.keywords = {number: name for number, name in enumerate(names) if name}
    state.subscriptions = {body.sized_text() for _ in range(body.varint())}
    for _ in range(body.varint()):
        request, time = body.numbers("16sq")
        state.requests[request] = time, records.result(body.take(body.varint()))
    for _ in range(body.varint()):
        mailbox = read_mailbox(body, sets)
        state.mailboxes[mailbox.id] = mailbox
    body.end()
    return state


def read_mailbox(body, sets):
    number, uidvalidity, uidnext, created, highest_modseq, floor = body.numbers("IIIQQQ")
    mailbox = Mailbox(number, body.sized_text(), uidvalidity, created, uidnext, highest_modseq, floor)
    for _ in range(body.varint()):
        identifier = body.sized_text()
        mailbox.rights[identifier] = body.sized_text()
    mailbox.expunged = [body.numbers("QII") for _ in range(body.number("Q"))]
    for _ in range(body.number("Q")):
        uid, size, modseq, date, offset, number, _, keywords, flags, zone = ROW.unpack(body.take(ROW.size))
        if keywords >= len(sets):
            raise CheckpointError(f"keyword set {keywords} is not there")
        flags &= ~REFERS
        mailbox.messages[uid] = Row(uid, size, modseq, date, zone, flags, sets[keywords], (number, offset))
    return mailbox
