#!/usr/bin/env python3
"""Starts one canopyd on several stores, as `tools/dev cluster` does: NFS servers (nfs-ganesha, each on loopback ports of its
own), a fast store (a directory), and the frontends of `tools/dev run`. Accounts lie on the servers by the first letter of
their names, all settings and info on the fast store. Everything ends with this process and is kept in one directory.
"""
import argparse
import json
import os
import shlex
import signal
import subprocess
import sys

import ganesha
import stack
from stack import DOMAIN, NfsServer, StackError, replace_file

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SERVERS_MAX = 13


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/dev cluster",
        description="Start canopyd on several real NFS servers and a fast store, with the domain "
        f"{DOMAIN} spread over them by first letters; run until Ctrl-C. Needs root.")
    parser.add_argument("--dir", default="build/cluster", help="where everything is kept (default: build/cluster)")
    parser.add_argument("--nfs", type=int, default=6, metavar="N", help=f"how many NFS servers, 1 to {SERVERS_MAX} (default: 6)")
    parser.add_argument("--version", type=int, choices=(3, 4), default=3, help="of NFS (default: 3)")
    parser.add_argument("--fast", action="store_true", help="settings and info on a fast store")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready instead of prose")
    parser.add_argument("--mount", metavar="DIR", help="show the tree as files on this directory, too")
    parser.add_argument("--port-base", type=int, default=8034, metavar="N",
                        help="LMTP on N, POP3 on N+1, POP3S on N+2, the wire protocol on N+3 (default: 8034)")
    parser.add_argument("--bin", default="build/release/bin", help=argparse.SUPPRESS)
    parser.set_defaults(over_nfs=None)
    given = parser.parse_args()
    if not 1 <= given.port_base <= 65532:
        parser.error("--port-base: a number from 1 to 65532")
    if not 1 <= given.nfs <= SERVERS_MAX:
        parser.error(f"--nfs: a number from 1 to {SERVERS_MAX}")
    return given


def parted(letters, parts):
    """[("a", "e"), ("f", "j"), …]: as even as can be."""
    cuts = [len(letters) * part // parts for part in range(parts + 1)]
    return [(letters[first], letters[end - 1]) for first, end in zip(cuts, cuts[1:])]


class Cluster(stack.Stack):
    names = ("albert", "emma", "jsmith", "maria", "robert", "victor")

    def __init__(self, given):
        super().__init__(given)
        self.version, self.fast = given.version, given.fast
        self.servers = [NfsServer(f"nfs{number}", self.path(f"nfs{number}")) for number in range(1, given.nfs + 1)]

    def start(self):
        for server in self.servers:
            server.start()
        super().start()

    def all_services(self):
        return [*self.servers, *super().all_services()]

    def prepare_tree(self):
        """The first time; a start that was killed in the midst of it goes on."""
        mark = self.path("stores.made")
        if os.path.exists(mark):
            return
        known = {store["name"] for store in json.loads(self.ctl("store", "list"))}
        rows = ["/ root"]
        for server, (first, last) in zip(self.servers, parted(LETTERS, len(self.servers))):
            if server.name not in known:
                self.add_store(server.name, server.server.address(self.version))
            rows.append(f"SharedDomains/{DOMAIN}/[{first}-{last}].sub {server.name}")
        if self.fast:
            os.makedirs(self.path("fast"), exist_ok=True)
            if "fast" not in known:
                self.add_store("fast", "dir:" + self.path("fast"), "--allow-same-device", "--role", "fast")
            rows.append("SharedDomains/fast fast")
        table = self.path("mounts.table")
        replace_file(table, "\n".join(rows) + "\n")
        self.ctl("mounts", "set", table)
        if DOMAIN not in self.ctl("domain", "list"):
            self.ctl("domain", "create", DOMAIN, "--account-foldering", "1", *(("--fast-index", "1") if self.fast else ()))
        replace_file(mark, "")

    def add_store(self, name, address, *options):
        try:
            self.ctl("store", "add", name, address, "--new", *options)
        except StackError:  # marked by a start that was killed
            self.ctl("store", "add", name, address, *options)

    def facts(self):
        stores = {server.name: {"address": server.server.address(self.version), "export": str(server.server.export),
                                "process": server.server.process.pid} for server in self.servers}
        return {**super().facts(), "stores": stores, **({"fast": self.path("fast")} if self.fast else {})}

    def prose(self):
        ctl = shlex.join([self.program("canopyctl"), "--server", "unix:" + self.socket])
        table = subprocess.run([*shlex.split(ctl), "mounts", "show"], capture_output=True, text=True, check=True).stdout
        servers = "\n".join(f"  {name}  {store['address']}\n        files in {store['export']}, process {store['process']}"
                            for name, store in self.facts()["stores"].items())
        return (super().prose() + f"\nThe tree lies on\n{servers}\n"
                + (f"  fast  {self.path('fast')}\n" if self.fast else "") + f"by this table:\n{table}\nLook on:\n"
                f"  {ctl} store list\n  {ctl} mounts show --moves\n  kill -9 PROCESS    # of a server: its accounts answer 451, "
                "all others go on; it is started again\n")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    reason = ganesha.why_unavailable()
    if reason:
        print(f"tools/dev cluster: {reason}", file=sys.stderr)
        sys.exit(1)
    sys.exit(stack.run("tools/dev cluster", Cluster, arguments()))
