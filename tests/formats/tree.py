"""Finds accounts in a tree: docs/formats/tree.md. All paths are relative to the base directory, with `/`."""
import os
from dataclasses import dataclass

import dictionary
from checksums import xxh64

SLOTS = 4096
LEVELS_MAX, LETTERS_MAX = 4, 4


class TreeError(Exception):
    """Names the object and the rule."""


@dataclass(frozen=True)
class Place:
    """Where an account lies."""
    account: str
    directory: str
    settings: str
    info: str

    @property
    def slot(self):
        """"Names": XXH64 of account@domain, modulo 4096."""
        return xxh64(self.account.encode()) % SLOTS


# -------------------------------------------------------- Foldering
def foldering_counts(method):
    """(hashed, letters of each level) of a foldering."""
    if method == "flat":
        return False, []
    hashed = method.startswith("hash-")
    counts = method.removeprefix("hash-").split("-")
    if not 1 <= len(counts) <= LEVELS_MAX or any(count not in ("1", "2", "3", "4") for count in counts):
        raise TreeError(f"foldering {method}: flat, or 1 to {LEVELS_MAX} counts of 1 to {LETTERS_MAX}")
    return hashed, [int(count) for count in counts]


def folder_letter(letter):
    return letter if ord(letter) > 127 or letter.isascii() and letter.isalnum() else "_"


def folders(method, name):
    """The `.sub` folders of a prepared name."""
    hashed, counts = foldering_counts(method)
    letters = f"{xxh64(name.encode()):016x}" if hashed else name
    found, at = [], 0
    for count in counts:
        taken = letters[at:at + count].ljust(count, "_")
        found.append("".join(folder_letter(letter) for letter in taken) + ".sub")
        at += count
    return found


# -------------------------------------------------------- Paths
def place_of(account, directory, fast_index):
    """The files of an account whose directory is known: "Paths"."""
    *elements, last = directory.split("/")
    if fast_index == 0:
        stem = directory + "/account"
    else:
        if fast_index > len(elements):
            raise TreeError(f"{directory}: fast index {fast_index} is beyond its {len(elements)} elements")
        own = last.removesuffix(".macnt")
        stem = "/".join(elements[:fast_index] + ["fast"] + elements[fast_index:] + [own])
    return Place(account, directory, stem + ".settings", stem + ".info")


def account_directory(domain_directory, name, foldering):
    return "/".join([domain_directory, *folders(foldering, name), name + ".macnt"])


# -------------------------------------------------------- the tree
def read_dictionary(base, path):
    """The dictionary in a file of the tree; None where there is none."""
    try:
        with open(os.path.join(base, path), "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        return None
    entries = dictionary.parse(raw, path)
    dictionary.version_of(entries, path)
    return entries


def directories(base, path):
    """Names of the directories in one, no links, by their bytes."""
    with os.scandir(os.path.join(base, path)) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def walk(base, path, levels=LEVELS_MAX):
    """Each directory in this one and its `.sub` folders that is no such folder: "What lies in the tree"."""
    for name in directories(base, path):
        if not name.endswith(".sub"):
            yield f"{path}/{name}"
        elif levels > 0:
            yield from walk(base, f"{path}/{name}", levels - 1)


def walk_domains(base):
    """The domains' directories."""
    for path in walk(base, "SharedDomains"):
        name = path.rsplit("/", 1)[1]
        if name != "fast" and not name.startswith(".") and not name.endswith(".macnt"):
            if os.path.exists(os.path.join(base, path, "domain.settings")):
                yield path


def walk_accounts(base, domain_directory):
    """The accounts' directories of a domain."""
    return (path for path in walk(base, domain_directory) if path.endswith(".macnt"))


def layout_of(base, domain_directory):
    """(account foldering, fast index) of a domain: "Settings"."""
    settings = read_dictionary(base, domain_directory + "/domain.settings") or {}
    return settings.get("Foldering", "flat"), settings.get("FastIndex", 0)


def accounts(base):
    """The places of all accounts."""
    for domain_directory in walk_domains(base):
        domain = domain_directory.rsplit("/", 1)[1]
        _, fast_index = layout_of(base, domain_directory)
        for directory in walk_accounts(base, domain_directory):
            name = directory.rsplit("/", 1)[1].removesuffix(".macnt")
            yield place_of(f"{name}@{domain}", directory, fast_index)


def alias_target(base, domain_directory, name):
    """The account that an alias leads to: "Aliases"."""
    path = f"{domain_directory}/aliases/{xxh64(name.encode()) & 0xFF:02x}.data"
    target = (read_dictionary(base, path) or {}).get(name)
    return target if target is None or "@" in target else f"{target}@{domain_directory.rsplit('/', 1)[1]}"


def find(base, account, resolve_alias=True):
    """The place of one account, computed from its name, which must be prepared as `accounts` gives it."""
    name, at, domain = account.partition("@")
    if not at:
        raise TreeError(f"{account}: an account is name@domain")
    for domain_directory in walk_domains(base):
        if domain_directory.rsplit("/", 1)[1] == domain:
            foldering, fast_index = layout_of(base, domain_directory)
            directory = account_directory(domain_directory, name, foldering)
            if os.path.isdir(os.path.join(base, directory)):
                return place_of(account, directory, fast_index)
            target = alias_target(base, domain_directory, name)
            if target and resolve_alias:
                return find(base, target, resolve_alias=False)
            raise TreeError(f"{account}: no such account, as {directory} is not there")
    raise TreeError(f"{account}: no domain {domain}")
