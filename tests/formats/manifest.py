"""Finds the manifest of an account: docs/formats/account-log.md, "Which manifest is in force"."""
import os
import struct
from dataclasses import dataclass

import checkpoint
import records
from slices import (FRAME_BYTES_MAX, FRAME_HEADER, FRAME_MAGIC, KIND_APPEND, KIND_DATA, SLICE_HEADER, LogError, Seed,
                    SliceFile, frame_at, list_slices, read_slice)

SECRET = slice(24, 40)  # of a slice header


@dataclass(frozen=True)
class Manifest:
    file: SliceFile
    secret: bytes
    entries: list  # records.ManifestEntry, in the order of replay


def manifest_of(file, secret):
    """The manifest in a slice, sound with this secret, or None: rule 2."""
    if len(file.data) < SLICE_HEADER.size:
        return None
    frame = frame_at(file.data, SLICE_HEADER.size, len(file.data), Seed(secret, file.number, file.epoch))
    if not frame or len(frame.records) != 1 or frame.records[0].type != records.MANIFEST:
        return None
    try:
        entries = records.manifest(frame.records[0].body)
    except records.FormError:
        return None
    if (entries[-1].number, entries[-1].epoch) != (file.number, file.epoch):
        return None
    return Manifest(file, secret, entries)


def sound_manifest(file):
    """The manifest of a slice by the secret in its own header."""
    header = file.header()
    if header is None:
        return manifest_of(file, file.data[SECRET])
    if header.kind != KIND_APPEND or (header.number, header.epoch) != (file.number, file.epoch):
        return None
    return manifest_of(file, header.secret)


def unverified_proof(data):
    """Rule 3, its end: anything that begins as a frame does and says that something was acknowledged."""
    for at in range(SLICE_HEADER.size, len(data) - FRAME_HEADER.size + 1, 8):
        if data[at:at + 4] != FRAME_MAGIC:
            continue
        length, = struct.unpack_from("<Q", data, at + 8)
        acknowledged, = struct.unpack_from("<Q", data, at + 32)
        if length % 8 == 0 and FRAME_HEADER.size <= length <= FRAME_BYTES_MAX and SLICE_HEADER.size < acknowledged <= at:
            return True
    return False


def proves_acknowledged(file, secret):
    """Rule 3: whether a slice that was passed over holds a proof that something in it was acknowledged."""
    header = file.header()
    if header:
        if header.kind == KIND_DATA:
            return False
        secret = header.secret
    if secret is None:
        return unverified_proof(file.data)
    return read_slice(file, Seed(secret, file.number, file.epoch)).acknowledged > SLICE_HEADER.size


def refuse_what_checkpoints_prove(directory, found):
    """Rules 4 and 5."""
    for epoch, number, name in checkpoint.list_checkpoints(directory):
        if found is None:
            raise LogError(f"{name}: a checkpoint, but no slice has a sound manifest")
        try:
            with open(os.path.join(directory, name), "rb") as file:
                last = checkpoint.read_checkpoint(file.read(), epoch, number, name, found.secret).entries[-1]
        except (FileNotFoundError, checkpoint.CheckpointError):
            continue
        if (last.epoch, last.number) > (found.file.epoch, found.file.number):
            raise LogError(f"{name}: it covers slice {last.number:016x}-{last.epoch:016x}, which has no sound "
                           "manifest")


def manifest_in_force(directory):
    """None when the account has no log."""
    passed, found = [], None
    for epoch, number in list_slices(directory):
        file = SliceFile(directory, number, epoch)
        found = sound_manifest(file)
        if found:
            break
        passed.append(file)
    for at, file in enumerate(passed):
        again = manifest_of(file, found.secret) if found and file.header() is None else None
        if again:
            found, passed = again, passed[:at]
            break
    for file in passed:
        if proves_acknowledged(file, found.secret if found else None):
            raise LogError(f"{file.name} offset {SLICE_HEADER.size}: no sound manifest where something was "
                           "acknowledged")
    refuse_what_checkpoints_prove(directory, found)
    return found
