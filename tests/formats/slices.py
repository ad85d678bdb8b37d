"""Reads the slices of an account: docs/formats/account-log.md, from "Layout of a slice" to "Reading a slice".

What the records say is for records.py, what follows from them for replay.py.
"""
import mmap
import os
import re
import struct
from dataclasses import dataclass, field

from checksums import crc32c

SLICE_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.slice")
NUMBER_MAX = 2**32 - 1
KIND_APPEND, KIND_DATA = 0, 1

SLICE_HEADER = struct.Struct("<8sHBxIQ16sq12xI")
SLICE_MAGIC, SLICE_VERSION = b"CNPYSLC1", 1
FRAME_HEADER = struct.Struct("<4sIQIIqQ16s")
FRAME_MAGIC, FRAME_BYTES_MAX, FRAME_RECORDS_MAX = b"FRM1", 67108864, 1048576
RECORD_HEADER = struct.Struct("<IBBHI")
BODY_BYTES_MAX = 33554432


class SliceGone(Exception):
    """A slice that was listed is not there any more: somebody compacts, begin anew."""


class LogError(Exception):
    """The account cannot be read; names the file and the rule."""


@dataclass(frozen=True)
class Damage:
    """Bytes that should be sound and are not."""
    file: str
    offset: int
    length: int
    what: str


@dataclass(frozen=True)
class Seed:
    """What every checksum of a slice begins with: "Seeded checksums"."""
    secret: bytes
    number: int
    epoch: int

    def checksum(self, offset, *parts):
        return crc32c(self.secret + struct.pack("<IQQ", self.number, self.epoch, offset), *parts)


@dataclass(frozen=True)
class SliceHeader:
    number: int
    epoch: int
    kind: int
    secret: bytes
    made: int


@dataclass(frozen=True)
class Record:
    offset: int
    type: int
    body: bytes


@dataclass(frozen=True)
class FrameHeader:
    offset: int
    length: int
    count: int
    time: int
    acknowledged: int
    request: bytes


@dataclass(frozen=True)
class Frame:
    header: FrameHeader
    records: list


class SliceFile:
    """The bytes of one slice, as they were when it was opened. One that is not there is empty."""

    def __init__(self, directory, number, epoch, listed=True):
        self.number, self.epoch = number, epoch
        self.name = f"{number:016x}-{epoch:016x}.slice"
        self.data, self.there = b"", listed
        if not listed:
            return
        try:
            with open(os.path.join(directory, self.name), "rb") as file:
                if os.fstat(file.fileno()).st_size > 0:
                    self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise SliceGone(self.name) from error

    def header(self):
        """"Slice header, 64 bytes"; None when it does not verify."""
        if len(self.data) < SLICE_HEADER.size:
            return None
        fields = SLICE_HEADER.unpack_from(self.data)
        magic, version, kind, number, epoch, secret, made, checksum = fields
        seed = Seed(secret, number, epoch)
        if magic != SLICE_MAGIC or version != SLICE_VERSION or checksum != seed.checksum(0, self.data[:60]):
            return None
        return SliceHeader(number, epoch, kind, secret, made)


def list_slices(directory):
    """(epoch, number) of the slices in a directory, the last made first."""
    found = []
    for name in os.listdir(directory):
        match = SLICE_NAME.fullmatch(name)
        if match and 1 <= int(match[1], 16) <= NUMBER_MAX:
            found.append((int(match[2], 16), int(match[1], 16)))
    return sorted(found, reverse=True)


# -------------------------------------------------------- frames and records
def frame_header(data, at, seed):
    """The header at `at`: "Frame". None when it does not verify."""
    if at + FRAME_HEADER.size > len(data):
        return None
    magic, checksum, length, count, zero, time, acknowledged, request = FRAME_HEADER.unpack_from(data, at)
    if magic != FRAME_MAGIC or checksum != seed.checksum(at, data[at + 8:at + FRAME_HEADER.size]):
        return None
    if length % 8 or not FRAME_HEADER.size <= length <= FRAME_BYTES_MAX or count > FRAME_RECORDS_MAX or zero:
        return None
    return FrameHeader(at, length, count, time, acknowledged, request)


def record_at(data, at, end, seed):
    """(record, where the next begins) of the record at `at`: "Record". None when it does not verify."""
    if at + RECORD_HEADER.size > end:
        return None
    checksum, kind, _, _, length = RECORD_HEADER.unpack_from(data, at)
    body = at + RECORD_HEADER.size
    following = body + length + 7 & ~7
    if length > BODY_BYTES_MAX or following > end:
        return None
    if any(data[body + length:following]) or checksum != seed.checksum(at, data[at + 4:body + length]):
        return None
    return Record(at, kind, data[body:body + length]), following


def frame_at(data, at, limit, seed):
    """The whole frame at `at`. None when it does not verify or goes beyond the limit."""
    header = frame_header(data, at, seed)
    if not header or at + header.length > limit:
        return None
    end, found, position = at + header.length, [], at + FRAME_HEADER.size
    while position < end:
        record = record_at(data, position, end, seed)
        if not record:
            return None
        found.append(record[0])
        position = record[1]
    return Frame(header, found) if len(found) == header.count else None


# -------------------------------------------------------- reading
@dataclass
class Reading:
    """What one slice gave: "Reading a slice"."""
    frames: list = field(default_factory=list)
    damages: list = field(default_factory=list)
    acknowledged: int = 0
    end: int = 0  # bytes from here on do not count


def headers_from(data, at, limit, seed):
    """The frame headers that verify, at every multiple of 8 from `at` on."""
    found, at = [], data.find(FRAME_MAGIC, at, limit)
    while at >= 0:
        header = frame_header(data, at, seed) if at % 8 == 0 else None
        if header:
            found.append(header)
        at = data.find(FRAME_MAGIC, at + 1, limit)
    return found


def read_slice(file, seed, limit=None, begin=SLICE_HEADER.size, acknowledged=0):
    """The frames and damages of a slice; `limit` is its length in the manifest, None if it is open-ended."""
    data = file.data
    end = len(data) if limit is None else min(limit, len(data))
    reading = Reading(acknowledged=acknowledged if limit is None else limit)
    at, headers = begin, None
    while limit is None or at < limit:
        frame = frame_at(data, at, end, seed)
        if frame:
            reading.frames.append(frame)
            reading.acknowledged = max(reading.acknowledged, frame.header.acknowledged)
            at += frame.header.length
            continue
        if headers is None:
            headers = headers_from(data, at, end, seed)
            reading.acknowledged = max([reading.acknowledged, *(each.acknowledged for each in headers)])
        if at >= reading.acknowledged:
            break
        following = next((each.offset for each in headers if at < each.offset < reading.acknowledged),
                         reading.acknowledged)
        reading.damages.append(Damage(file.name, at, following - at, bad_bytes(len(data), at, following)))
        at = following
    reading.end = at
    return reading


def bad_bytes(size, at, following):
    if size <= at:
        return "missing"
    return "a frame that does not verify" + (f", the file ends at {size}" if size < following else "")
