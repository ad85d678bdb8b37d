#!/usr/bin/env python3
"""Reads accounts from a tree as docs/formats describes it, without a daemon and without Canopy's code.

    reader.py BASE list                            all accounts and where they lie
    reader.py BASE show ACCOUNT [--json]           settings, info, mailboxes, messages, subscriptions, damages
    reader.py BASE cat ACCOUNT MAILBOX UID         the bytes of a message
    reader.py BASE check ACCOUNT                   every checksum of slices and checkpoints

Names are prepared ones, as `list` prints them. Exit status: 0 done, 1 damaged or refused, 2 wrong usage.
"""
import argparse
import datetime
import json
import os
import sys

import dictionary
import records
import tree
from account import Account, ContentError
from slices import LogError, SliceGone


def arguments():
    parser = argparse.ArgumentParser(description="Reads accounts from a tree without a daemon.")
    parser.add_argument("base", help="the base directory, in which SharedDomains lies")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all accounts and where they lie")
    for name, what in (("show", "all that is known of an account"), ("cat", "write a message's bytes"),
                       ("check", "verify every checksum")):
        command = commands.add_parser(name, help=what)
        command.add_argument("account", help="NAME@DOMAIN")
        if name == "show":
            command.add_argument("--json", action="store_true", help="print JSON")
        if name == "cat":
            command.add_argument("mailbox")
            command.add_argument("uid", type=int)
    return parser.parse_args()


# -------------------------------------------------------- list
def list_accounts(given):
    for place in tree.accounts(given.base):
        print(f"{place.account}\tslot {place.slot}\t{place.directory}\t{place.settings}\t{place.info}")
    return 0


# -------------------------------------------------------- show
def flag_names(bits):
    return [name for bit, name in records.SYSTEM_FLAGS.items() if bits & bit]


def message_facts(state, row):
    keywords = [state.keywords[each] for each in row.keywords if state.keywords.get(each)]
    return {"uid": row.uid, "flags": flag_names(row.flags), "keywords": keywords,
            "date": row.date, "zone": row.zone, "size": row.size, "modseq": row.modseq}


def mailbox_facts(state, mailbox):
    return {"id": mailbox.id, "name": mailbox.name, "uidvalidity": mailbox.uidvalidity,
            "uidnext": mailbox.uidnext, "highest_modseq": mailbox.highest_modseq, "floor": mailbox.floor,
            "rights": mailbox.rights, "expunged": mailbox.expunged,
            "messages": [message_facts(state, row) for _, row in sorted(mailbox.messages.items())]}


def account_facts(account):
    state = account.state
    settings, info = account.settings(), account.info()
    place = account.place
    return {"account": place.account, "slot": place.slot, "directory": place.directory,
            "settings": None if settings is None else dictionary.to_json(settings),
            "info": None if info is None else dictionary.to_json(info),
            "mailboxes": [mailbox_facts(state, mailbox) for _, mailbox in sorted(state.mailboxes.items())],
            "subscriptions": sorted(state.subscriptions), "bytes": state.size(),
            "highest_modseq": state.highest_modseq, "last_uidvalidity": state.last_uidvalidity,
            "damages": [vars(damage) for damage in account.damages]}


def date_text(seconds, zone):
    local = datetime.timezone(datetime.timedelta(minutes=zone))
    return datetime.datetime.fromtimestamp(seconds, local).strftime("%Y-%m-%d %H:%M:%S %z")


def show_text(facts):
    print(f"account   {facts['account']}\ndirectory {facts['directory']}")
    for part in ("settings", "info"):
        print(f"{part:9} {json.dumps(facts[part], ensure_ascii=False)}")
    print(f"subscribed {json.dumps(facts['subscriptions'], ensure_ascii=False)}")
    for mailbox in facts["mailboxes"]:
        print(f"mailbox {mailbox['name']}: id {mailbox['id']}, uidvalidity {mailbox['uidvalidity']}, uidnext "
              f"{mailbox['uidnext']}, highest modseq {mailbox['highest_modseq']}")
        for row in mailbox["messages"]:
            print(f"  {row['uid']}\t{date_text(row['date'], row['zone'])}\t{row['size']}\t{row['modseq']}\t"
                  + " ".join(row["flags"] + row["keywords"]))


def show(given):
    account = Account(given.base, given.account)
    facts = account_facts(account)
    if given.json:
        print(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        show_text(facts)
        print_damages(account.damages)
    return 0


# -------------------------------------------------------- cat, check
def cat(given):
    account = Account(given.base, given.account)
    mailbox = account.mailbox(given.mailbox)
    row = mailbox.messages.get(given.uid)
    if not row:
        raise tree.TreeError(f"{given.account}: no message {given.uid} in {mailbox.name}")
    sys.stdout.buffer.write(account.content(row))
    return 0


def print_damages(damages):
    for damage in damages:
        print(f"DAMAGED {damage.file} offset {damage.offset} length {damage.length}: {damage.what}")


def check(given):
    account = Account(given.base, given.account)
    for version in (account.settings(), account.info()):
        dictionary.version_of(version or {}, given.account)
    lines, damages = account.check()
    print("\n".join(lines))
    print_damages(damages)
    return 1 if damages else 0


def main():
    given = arguments()
    if not os.path.isdir(os.path.join(given.base, "SharedDomains")):
        print(f"reader.py: {given.base}: no base directory, as it has no SharedDomains", file=sys.stderr)
        return 1
    try:
        return {"list": list_accounts, "show": show, "cat": cat, "check": check}[given.command](given)
    except (tree.TreeError, dictionary.DictionaryError, LogError, SliceGone, ContentError) as error:
        print(f"reader.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
