"""The bodies of records: docs/formats/account-log.md, from "Records" to "Manifest"."""
import struct
from dataclasses import dataclass

(MANIFEST, MAILBOX_CREATE, MAILBOX_RENAME, MAILBOX_DELETE, SUBSCRIBE, MAILBOX_RIGHTS, MESSAGE, CONTENT,
 KEYWORD_DEFINE, FLAGS_CHANGE, EXPUNGE, UIDNEXT, MODSEQ_FLOOR, REQUEST_REMEMBERED, COUNTER) = range(1, 16)

INLINE, REFERENCE, PARTS = range(3)
CONTENT_BYTES_MAX = 1048576
KEYWORDS_MAX = 4096
OPEN_ENDED = 2**64 - 1
SLICE_HEADER_BYTES = 64
SYSTEM_FLAGS = {1: "\\Seen", 2: "\\Answered", 4: "\\Flagged", 8: "\\Deleted", 16: "\\Draft"}


class FormError(Exception):
    """A body that does not have its form."""


class Body:
    """Takes the fields of a body one behind the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        if length > len(self.data) - self.at:
            raise FormError("shorter than its form")
        self.at += length
        return self.data[self.at - length:self.at]

    def numbers(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def number(self, form):
        return self.numbers(form)[0]

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.number("B")
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise FormError("a varint of more than 10 bytes")

    def text(self):
        return self.utf8(self.number("I"))

    def sized_text(self):
        return self.utf8(self.varint())

    def utf8(self, length):
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise FormError("a text that is no UTF-8") from error

    def range(self):
        first, last = self.numbers("II")
        if not 1 <= first <= last:
            raise FormError(f"a range from {first} to {last}")
        return first, last

    def rest(self):
        return self.take(len(self.data) - self.at)

    def end(self):
        if self.at != len(self.data):
            raise FormError("longer than its form")


# -------------------------------------------------------- manifest
@dataclass(frozen=True)
class ManifestEntry:
    number: int
    kind: int
    replayed: bool
    epoch: int
    length: int

    @property
    def limit(self):
        """The valid length; None for the open-ended slice."""
        return None if self.length == OPEN_ENDED else self.length


def manifest(data):
    body = Body(data)
    count, _ = body.numbers("II")
    if count == 0:
        raise FormError("a manifest without an entry")
    entries = []
    for _ in range(count):
        number, kind, replayed, _, epoch, length = body.numbers("IBBHQQ")
        entries.append(ManifestEntry(number, kind, replayed == 1, epoch, length))
    body.end()
    *others, last = entries
    if len({entry.number for entry in entries}) != count:
        raise FormError("two entries with the same number")
    if last.kind != 0 or not last.replayed or last.length != OPEN_ENDED:
        raise FormError("the last entry is an append slice, replayed and open-ended")
    if any(entry.length % 8 or not SLICE_HEADER_BYTES <= entry.length < OPEN_ENDED for entry in others):
        raise FormError("a valid length is a multiple of 8, at least 64")
    return entries


# -------------------------------------------------------- message
@dataclass(frozen=True)
class Message:
    mailbox: int
    uid: int
    modseq: int
    date: int
    zone: int
    flags: int
    kind: int
    size: int
    keywords: tuple
    inline: bytes      # kind INLINE
    reference: tuple   # kind REFERENCE: (slice number, offset)
    parts: list        # kind PARTS: (slice number, offset, length)


def message(data):
    body = Body(data)
    mailbox, uid, modseq, date, zone, flags, count, kind, zero, size = body.numbers("IIQqhHHBBQ")
    if uid in (0, 2**32 - 1) or count > KEYWORDS_MAX or zero:
        raise FormError("UID 0, too many keywords, or a byte that is not zero")
    keywords = body.numbers(f"{count}H")
    inline, reference, parts = b"", None, []
    if kind == INLINE:
        inline = body.rest()
        if len(inline) > CONTENT_BYTES_MAX or len(inline) != size:
            raise FormError("inline content of another size")
    elif kind == REFERENCE:
        reference = body.numbers("IQ")
    elif kind == PARTS:
        parts = [body.numbers("IQI") for _ in range(body.number("I"))]
        if sum(part[2] for part in parts) != size or any(part[2] > CONTENT_BYTES_MAX for part in parts):
            raise FormError("parts of another size")
    else:
        raise FormError(f"content of kind {kind}")
    body.end()
    return Message(mailbox, uid, modseq, date, zone, flags, kind, size, keywords, inline, reference, parts)


def flags_change(data):
    """(mailbox id, modseq, groups of (system flags, keywords, ranges))."""
    body = Body(data)
    mailbox, count, modseq = body.numbers("IIQ")
    groups = []
    for _ in range(count):
        flags, keywords, ranges = body.numbers("HHI")
        ids = body.numbers(f"{keywords}H")
        groups.append((flags, ids, [body.range() for _ in range(ranges)]))
    body.end()
    return mailbox, modseq, groups


def expunge(data):
    """(mailbox id, modseq, ranges)."""
    body = Body(data)
    mailbox, count, modseq = body.numbers("IIQ")
    ranges = [body.range() for _ in range(count)]
    body.end()
    return mailbox, modseq, ranges


# -------------------------------------------------------- requests
@dataclass(frozen=True)
class Result:
    """What a request was answered with."""
    mailbox: int = 0
    uidvalidity: int = 0
    modseq: int = 0
    uids: tuple = ()
    sources: tuple = ()
    unchanged: tuple = ()


def result(data):
    body = Body(data)
    mailbox, uidvalidity, modseq = (body.varint() for _ in range(3))
    uids, sources = (tuple((body.varint(), body.varint()) for _ in range(body.varint())) for _ in range(2))
    unchanged = tuple(body.varint() for _ in range(body.varint()))
    body.end()
    return Result(mailbox, uidvalidity, modseq, uids, sources, unchanged)


def request_remembered(data):
    """(request id, time in nanoseconds, result)."""
    body = Body(data)
    request, time = body.numbers("16sq")
    answered = result(body.take(body.number("I")))
    body.end()
    return request, time, answered


# The others are some numbers and then some texts: the form of the numbers, and how many texts.
SIMPLE = {MAILBOX_CREATE: ("IIQ", 1), MAILBOX_RENAME: ("IIQ", 1), MAILBOX_DELETE: ("IIQ", 0),
          SUBSCRIBE: ("I", 1), MAILBOX_RIGHTS: ("I", 2), KEYWORD_DEFINE: ("HH", 1),
          UIDNEXT: ("IIIIQ", 0), MODSEQ_FLOOR: ("IIQ", 0), COUNTER: ("IIQ", 0)}


def simple(kind, data):
    """The fields of a record of one of these types."""
    form, texts = SIMPLE[kind]
    body = Body(data)
    fields = (*body.numbers(form), *(body.text() for _ in range(texts)))
    body.end()
    return fields
