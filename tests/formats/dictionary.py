"""Reads dictionaries: docs/formats/dictionary.md.

A dictionary becomes a dict, an array a list, null None, a number an int, data a Data, a date a Date. A string
becomes a str, or bytes where it is no UTF-8.
"""
import base64
import binascii
import datetime
import re

BYTES_MAX, DEPTH_MAX = 4194304, 32
NUMBER_MIN, NUMBER_MAX = -2**63, 2**63 - 1

SPACE = re.compile(r"(?:[ \t\r\n]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
BARE = re.compile(r"[A-Za-z0-9._@+-]+")
NUMBER = re.compile(r"#(0|-?[1-9][0-9]*)")
DATE = re.compile(r"#T(\d\d)-(\d\d)-(\d{4})(?:_(\d\d):(\d\d):(\d\d))?", re.ASCII)
PLAIN = re.compile(r'[^\x00-\x1f\x7f"\\]+')
ESCAPE = re.compile(r"\\(?:([\"\\nrt])|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))")
SHORT = {'"': b'"', "\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t"}


class DictionaryError(Exception):
    """Names file, line, column and the rule."""


class Data(bytes):
    """The bytes of a `[...]`."""


class Date(str):
    """A date as JSON has it: 2026-10-23 or 2026-10-23T12:30:00Z."""


class Reader:
    """Grammar, from top to bottom: one method a rule."""

    def __init__(self, text, name):
        self.text, self.name, self.at = text, name, 0

    def refuse(self, rule):
        line = self.text.count("\n", 0, self.at) + 1
        column = self.at - (self.text.rfind("\n", 0, self.at) + 1) + 1
        raise DictionaryError(f"{self.name}:{line}:{column}: {rule}")

    def space(self):
        self.at = SPACE.match(self.text, self.at).end()

    def here(self, mark):
        """Whether the mark comes next; it is passed if so."""
        found = self.text.startswith(mark, self.at)
        self.at += len(mark) if found else 0
        return found

    def expect(self, mark):
        if not self.here(mark):
            self.refuse(f"expected `{mark}`")

    def file(self):
        self.space()
        self.expect("{")
        value = self.dictionary(1)
        self.space()
        if self.at != len(self.text):
            self.refuse("nothing follows the dictionary")
        return value

    def value(self, depth):
        if depth > DEPTH_MAX:
            self.refuse(f"dictionaries and arrays nest at most {DEPTH_MAX} deep")
        if self.here("{"):
            return self.dictionary(depth)
        if self.here("("):
            return self.array(depth)
        if self.here("["):
            return self.data()
        if self.text.startswith("#", self.at):
            return self.marked()
        return self.string()

    def dictionary(self, depth):
        entries = {}
        self.space()
        while not self.here("}"):
            key = self.string()
            if not key or key in entries:
                self.refuse("a key is not empty and stands once in a dictionary")
            self.space()
            self.expect("=")
            self.space()
            entries[key] = self.value(depth + 1)
            self.space()
            if not self.here(";"):
                self.expect("}")
                break
            self.space()
        return entries

    def array(self, depth):
        values = []
        self.space()
        if self.here(")"):
            return values
        while True:
            values.append(self.value(depth + 1))
            self.space()
            if not self.here(","):
                self.expect(")")
                return values
            self.space()

    def data(self):
        end = self.text.find("]", self.at)
        digits = "" if end < 0 else re.sub(r"[ \t\r\n]", "", self.text[self.at:end])
        try:
            value = base64.b64decode(digits, validate=True)
        except (binascii.Error, ValueError):
            value = None
        if end < 0 or value is None or base64.b64encode(value).decode() != digits:
            self.refuse("data is base64 with padding and unused bits of zero, up to `]`")
        self.at = end + 1
        return Data(value)

    def marked(self):
        """Null, a date or a number: the values that begin with #."""
        if self.here("#NULL#"):
            return None
        date = DATE.match(self.text, self.at)
        if date:
            self.at = date.end()
            return self.date(date)
        number = NUMBER.match(self.text, self.at)
        if not number or not NUMBER_MIN <= int(number[1]) <= NUMBER_MAX:
            self.refuse("a number, a date or #NULL#")
        self.at = number.end()
        return int(number[1])

    def date(self, parts):
        day, month, year = int(parts[1]), int(parts[2]), int(parts[3])
        try:
            whole = datetime.datetime(year, month, day, *(int(part or 0) for part in parts.groups()[3:]))
        except ValueError:
            self.refuse("a day and time that exist")
        return Date(f"{whole:%Y-%m-%d}".rjust(10, "0") + (f"T{whole:%H:%M:%S}Z" if parts[4] else ""))

    def string(self):
        bare = BARE.match(self.text, self.at)
        if bare:
            self.at = bare.end()
            return bare[0]
        self.expect('"')
        found = b""
        while not self.here('"'):
            plain = PLAIN.match(self.text, self.at)
            if plain:
                found += plain[0].encode()
                self.at = plain.end()
            else:
                found += self.escape()
        try:
            return found.decode()
        except UnicodeDecodeError:
            return found

    def escape(self):
        escape = ESCAPE.match(self.text, self.at)
        if not escape:
            self.refuse("a character, an escape or the closing quote")
        self.at = escape.end()
        short, byte, four, eight = escape.groups()
        if short:
            return SHORT[short]
        if byte:
            return bytes.fromhex(byte)
        try:
            return chr(int(four or eight, 16)).encode()
        except (ValueError, OverflowError):
            self.refuse("a Unicode character, no surrogate")


def parse(raw, name):
    """The dictionary in these bytes of a file; `name` is for errors."""
    if len(raw) > BYTES_MAX:
        raise DictionaryError(f"{name}: a file has at most {BYTES_MAX} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise DictionaryError(f"{name}: not UTF-8 at byte {error.start}") from error
    return Reader(text, name).file()


def is_id(value):
    return isinstance(value, Data) and len(value) == 16


def is_request(value):
    """One of `.requests`: it says which version it made."""
    if not isinstance(value, list) or len(value) != 4 or not is_id(value[0]) or not isinstance(value[1], int):
        return False
    try:
        return version_of({".epoch": value[2], ".version": value[3]}, "") > (0, 0)
    except DictionaryError:
        return False


def version_of(entries, name):
    """(epoch, version) of a file, by "Versioned files"; (0, 0) of one that was made by hand."""
    epoch, version = entries.get(".epoch"), entries.get(".version")
    if epoch is None and version is None:
        return 0, 0
    if not isinstance(epoch, str) or not re.fullmatch("[0-9a-f]{16}", epoch):
        raise DictionaryError(f"{name}: .epoch is a string of 16 lower-case hex digits")
    if not isinstance(version, int) or version < 1:
        raise DictionaryError(f"{name}: .version is a number from 1 up")
    created, requests = entries.get(".created"), entries.get(".requests", [])
    if created is not None and not is_id(created):
        raise DictionaryError(f"{name}: .created is data of 16 bytes")
    if not isinstance(requests, list) or not all(map(is_request, requests)):
        raise DictionaryError(f"{name}: .requests is an array of (ID, #SECONDS, EPOCH, #VERSION)")
    return int(epoch, 16), version


def to_json(value):
    """The value as "JSON" says, for json.dumps."""
    if isinstance(value, Date):
        return {"$date": str(value)}
    if isinstance(value, Data):
        return {"$data": base64.b64encode(value).decode()}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [to_json(each) for each in value]
    if isinstance(value, dict):
        if any(isinstance(key, bytes) or key.startswith("$") for key in value):
            return {"$dict": [[to_json(key), to_json(each)] for key, each in value.items()]}
        return {key: to_json(each) for key, each in value.items()}
    return value
