"""An account of a tree, put together from its files: settings, info, mailboxes, the content of messages."""
import os
import time

import checkpoint
import records
import tree
from manifest import manifest_in_force
from replay import Replay
from slices import (SLICE_HEADER, Damage, LogError, Seed, SliceFile, SliceGone, list_slices, read_slice,
                    record_at)

ATTEMPTS = 8  # to read an account that is being compacted meanwhile


class ContentError(Exception):
    """The content of a message cannot be had; `damage` says where."""

    def __init__(self, damage):
        super().__init__(f"{damage.file} offset {damage.offset}: {damage.what}")
        self.damage = damage


class Account:
    """Replays all slices, or, `by_checkpoint`, those behind the checkpoint that counts."""

    def __init__(self, base, name, by_checkpoint=False):
        self.base, self.place, self.by_checkpoint = base, tree.find(base, name), by_checkpoint
        self.directory = os.path.join(base, self.place.directory)
        for attempt in range(ATTEMPTS):
            try:
                self.load()
                return
            except SliceGone:
                if attempt == ATTEMPTS - 1:
                    raise

    def load(self):
        self.manifest = manifest_in_force(self.directory)
        self.entries, self.files, self.readings, self.damages, self.acknowledged = {}, {}, {}, [], 0
        self.replay = Replay(self.bad_form)
        if self.manifest is None:
            return
        listed = set(list_slices(self.directory))
        for entry in self.manifest.entries:
            file = SliceFile(self.directory, entry.number, entry.epoch, (entry.epoch, entry.number) in listed)
            self.entries[entry.number], self.files[entry.number] = entry, file
            self.check_header(file, entry)
        newest = self.checkpoint_that_counts()
        if newest and newest.entries[-1].number == self.manifest.file.number:
            self.acknowledged = newest.entries[-1].length
        self.replay = self.replayed(newest if self.by_checkpoint else None)

    def seed(self, entry):
        return Seed(self.manifest.secret, entry.number, entry.epoch)

    def check_header(self, file, entry):
        """"Reading a slice": a header that is not as the manifest says is damage, and no reason to stop."""
        header = file.header()
        if not file.there:
            what = "missing"
        elif not header:
            what = "a slice header that does not verify"
        elif Seed(header.secret, header.number, header.epoch) != self.seed(entry):
            what = "the header of another slice"
        else:
            return
        self.damages.append(Damage(file.name, 0, SLICE_HEADER.size, what))

    def checkpoint_that_counts(self):
        """The highest one, or None."""
        for epoch, number, name in checkpoint.list_checkpoints(self.directory):
            try:
                with open(os.path.join(self.directory, name), "rb") as file:
                    found = checkpoint.read_checkpoint(file.read(), epoch, number, name, self.manifest.secret)
                found.state()
            except (FileNotFoundError, checkpoint.CheckpointError):
                continue
            if checkpoint.counts(found, self.manifest):
                return found
        return None

    def replayed(self, begin=None):
        """A Replay of all that is replayed, or, with a checkpoint, of what is behind it."""
        if begin is None:
            replay, last = Replay(self.bad_form), None
        else:
            state, last = begin.state(), begin.entries[-1]
            replay = Replay(self.bad_form, state, range(state.next_mailbox))
        for entry in self.manifest.entries:
            if not entry.replayed or last and entry.number != last.number:
                continue
            self.read(entry, replay, last.length if last else SLICE_HEADER.size)
            last = None
        return replay

    def read(self, entry, replay, begin):
        acknowledged = max(begin, self.acknowledged)
        reading = read_slice(self.files[entry.number], self.seed(entry), entry.limit, begin, acknowledged)
        self.readings[entry.number] = reading
        self.damages += [damage for damage in reading.damages if damage not in self.damages]
        for frame in reading.frames:
            replay.frame(entry.number, frame)

    def bad_form(self, slice_number, record, error):
        """"Record": such an account is refused as a whole, by the daemon too."""
        name = self.files[slice_number].name
        raise LogError(f"{name} offset {record.offset}: record of type {record.type} is {error}") from error

    @property
    def state(self):
        return self.replay.state

    def settings(self):
        return tree.read_dictionary(self.base, self.place.settings)

    def info(self):
        return tree.read_dictionary(self.base, self.place.info)

    def mailbox(self, name):
        """By its name; INBOX in any case."""
        name = "INBOX" if name.upper() == "INBOX" else name
        for mailbox in self.state.mailboxes.values():
            if mailbox.name == name:
                return mailbox
        raise tree.TreeError(f"{self.place.account}: no mailbox {name}")

    # -------------------------------------------------------- the content of a message
    def content(self, row):
        """"The content of a message": its bytes, or ContentError."""
        message = self.message(row.place)
        if message.kind == records.REFERENCE:
            return self.referred(message)
        return self.own_content(message)

    def referred(self, message):
        place = message.reference
        record = self.record(place)
        if record.type == records.CONTENT:
            content = record.body
        else:
            target = self.message(place)
            if target.kind == records.REFERENCE:
                self.broken(place, "a reference to a reference")
            content = self.own_content(target)
        if len(content) != message.size:
            self.broken(place, f"content of {len(content)} bytes for a message of {message.size}")
        return content

    def own_content(self, message):
        """Of a message of kind inline or parts."""
        if message.kind == records.INLINE:
            return message.inline
        return b"".join(self.part(*part) for part in message.parts)

    def part(self, slice_number, offset, length):
        record = self.record((slice_number, offset))
        if record.type != records.CONTENT or len(record.body) != length:
            self.broken((slice_number, offset), f"no content of {length} bytes")
        return record.body

    def message(self, place):
        record = self.record(place)
        if record.type != records.MESSAGE:
            self.broken(place, f"a record of type {record.type} where a message should be")
        try:
            return records.message(record.body)
        except records.FormError as error:
            self.broken(place, f"a message that is {error}")

    def record(self, place):
        """The record at a place, verified."""
        slice_number, offset = place
        entry = self.entries.get(slice_number)
        if not entry:
            self.broken(place, "in a slice that the manifest does not name")
        end = self.readings[slice_number].end if entry.limit is None else entry.limit
        file = self.files[slice_number]
        found = record_at(file.data, offset, min(end, len(file.data)), self.seed(entry))
        if not found:
            self.broken(place, "a record that does not verify")
        return found[0]

    def broken(self, place, what):
        file = self.files.get(place[0])
        raise ContentError(Damage(file.name if file else f"slice {place[0]}", place[1], 0, what))

    # -------------------------------------------------------- checking
    def check(self):
        """Reads everything that has a checksum: (what was read, as lines; all damages)."""
        lines = [self.check_slice(entry) for entry in self.manifest.entries] if self.manifest else []
        named = {(entry.epoch, entry.number) for entry in self.entries.values()}
        lines += [f"{number:016x}-{epoch:016x}.slice: not named by the manifest in force, does not count"
                  for epoch, number in list_slices(self.directory) if (epoch, number) not in named]
        lines += [self.check_checkpoint(*each) for each in checkpoint.list_checkpoints(self.directory)]
        lines += [self.check_content(mailbox) for mailbox in self.state.mailboxes.values()]
        return lines, self.damages

    def check_slice(self, entry):
        file, reading = self.files[entry.number], self.readings.get(entry.number)
        if reading is None:  # kept for its content, not replayed
            reading = read_slice(file, self.seed(entry), entry.limit)
            self.damages += reading.damages
        count = sum(len(frame.records) for frame in reading.frames)
        line = f"{file.name}: {reading.end} bytes, {len(reading.frames)} frames, {count} records"
        torn = len(file.data) - reading.end
        return line + (f", {torn} bytes behind them do not count" if torn > 0 else "")

    def check_checkpoint(self, epoch, number, name):
        """A checkpoint that does not verify is named, and one that counts must give what the slices give."""
        if self.manifest is None:
            return f"{name}: does not count, as there is no slice"
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                data = file.read()
            found = checkpoint.read_checkpoint(data, epoch, number, name, self.manifest.secret)
            found.state()
        except FileNotFoundError:
            return f"{name}: gone"
        except checkpoint.CheckpointError as error:
            self.damages.append(Damage(name, 0, len(data), f"no checkpoint: {error}"))
            return f"{name}: {len(data)} bytes, does not verify"
        line = f"{name}: {len(data)} bytes"
        if not checkpoint.counts(found, self.manifest):
            return line + ", does not count any more"
        if self.damages:
            return line + ", counts; not compared, as there is damage"
        difference = self.difference(self.replayed(found).state)
        if difference:
            what = f"gives another state than the slices: {difference}"
            self.damages.append(Damage(name, 0, len(data), what))
        return line + ", counts"

    def difference(self, other):
        """In what the two states differ, as a text. Remembered requests are those of one moment."""
        now = time.time_ns()
        mine, its = self.state.facts(now), other.facts(now)
        for name in mine:
            if mine[name] != its[name]:
                return f"{name}: {its[name]!r:.400} there, {mine[name]!r:.400} here"
        return None

    def check_content(self, mailbox):
        sound = 0
        for row in mailbox.messages.values():
            try:
                content = self.content(row)
                if len(content) != row.size:
                    self.broken(row.place, f"content of {len(content)} bytes for a message of {row.size}")
                sound += 1
            except ContentError as error:
                self.damages.append(error.damage)
        return f"mailbox {mailbox.name}: {sound} of {len(mailbox.messages)} messages sound"
