#!/usr/bin/env python3
"""Runs the same canopy-bench scenarios on Dovecot and on Canopy, in turns, and prints both with their ratio.

Needs Debian's dovecot-core, dovecot-lmtpd and dovecot-pop3d; installs nothing. Usually started by
`canopy-bench compare dovecot`. Everything runs on loopback in one temporary directory, removed at the end.
"""

import argparse
import json
import os
import pwd
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

from canopy_server import (PASSWORD, PATTERN, POP3_PATTERN, Canopy, bench, fail, free_port, wait_for_port)

FORMATS = ("maildir", "sdbox", "mdbox")

DOVECOT_CONF = """
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/dovecot.log
protocols = lmtp pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = {location}
auth_mechanisms = plain
default_process_limit = 512
default_client_limit = 8192
default_vsz_limit = 0
mail_max_userip_connections = 0
passdb {{
  driver = passwd-file
  args = scheme={scheme} username_format=%u {dir}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={dir}/mail/%n
}}
service anvil {{
  client_limit = 8192
}}
service auth {{
  client_limit = 8192
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
  unix_listener lmtp {{
    mode = 0666
  }}
  process_limit = 256
}}
service pop3-login {{
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
  {login_tuning}
}}
service pop3 {{
  process_limit = 512
  {pop3_tuning}
}}
"""


class Dovecot:
    """One Dovecot with one mailbox format. tuned: processes reused, which needs that all accounts share one uid."""

    def __init__(self, directory, mail_format, accounts, tuned):
        self.name = f"dovecot {mail_format}" + (" tuned" if tuned else "")
        self.dir = directory
        os.makedirs(directory)
        os.chmod(directory, 0o755)
        self.lmtp_port, self.pop3_port = free_port(), free_port()
        user = pwd.getpwnam("nobody")
        for name in ("mail", "run", "state"):
            os.makedirs(f"{directory}/{name}")
        os.chown(f"{directory}/mail", user.pw_uid, user.pw_gid)
        with open(f"{directory}/users", "w") as users:
            for number in range(accounts):
                for pattern in (PATTERN, POP3_PATTERN):
                    users.write(f"{pattern % number}:{{PLAIN}}{PASSWORD}::::::\n")
        location = {"maildir": "maildir:~/Maildir", "sdbox": "sdbox:~/sdbox", "mdbox": "mdbox:~/mdbox"}[mail_format]
        config = DOVECOT_CONF.format(
            dir=directory, location=location, scheme="PLAIN", uid=user.pw_uid, gid=user.pw_gid,
            lmtp=self.lmtp_port, pop3=self.pop3_port,
            login_tuning="service_count = 0\n  process_min_avail = 2" if tuned else "",
            pop3_tuning="service_count = 256\n  process_min_avail = 16" if tuned else "")
        with open(f"{directory}/dovecot.conf", "w") as file:
            file.write(config)
        self.process = None

    def start(self):
        self.process = subprocess.Popen(["dovecot", "-F", "-c", f"{self.dir}/dovecot.conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.lmtp_port, self.process, f"{self.dir}/dovecot.log")
        wait_for_port(self.pop3_port, self.process, f"{self.dir}/dovecot.log")

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def lmtp(self):
        return f"tcp:127.0.0.1:{self.lmtp_port}"

    def pop3(self):
        return f"tcp:127.0.0.1:{self.pop3_port}"

    def pids(self):
        return []


def measure_lmtp(options, server):
    arguments = ["lmtp", "--connect", server.lmtp(), "--accounts", str(options.accounts), "--account-pattern", PATTERN,
                 "--connections", options.connections, "--sizes", options.sizes, "--seconds", str(options.seconds)]
    if options.pipelining:
        arguments.append("--pipelining")
    if server.pids():
        arguments += ["--pid", ",".join(map(str, server.pids()))]
    return [(("lmtp", row["connections"]), row["deliveries_per_s"], row) for row in bench(options, arguments)]


def measure_pop3(options, server):
    arguments = ["pop3", "--connect", server.pop3(), "--lmtp", server.lmtp(), "--fill", "--connections", "16",
                 "--accounts", str(options.pop3_accounts), "--messages", str(options.messages), "--account-pattern",
                 POP3_PATTERN, "--password-pattern", PASSWORD, "--sizes", options.sizes,
                 "--seconds", str(options.seconds)]
    if server.pids():
        arguments += ["--pid", ",".join(map(str, server.pids()))]
    rows = bench(options, arguments)
    return [(("pop3 sessions", 16), rows[0]["sessions_per_s"], rows[0]),
            (("pop3 messages", 16), rows[0]["messages_per_s"], rows[0])]


def measure_cold_logins(options, server):
    """Each account logs in once, right after the server's start: nothing is cached. Canopy's passwords are argon2id hashes,
    which cost some 20 ms each by design; Dovecot's here are in the clear."""
    rows = bench(options, ["pop3", "--connect", server.pop3(), "--once", "--login-only", "--connections", "16",
                           "--accounts", str(options.pop3_accounts), "--account-pattern", POP3_PATTERN,
                           "--password-pattern", PASSWORD])
    return [(("cold logins", 16), rows[0]["sessions_per_s"], rows[0])]


def measure_raw(options, directory):
    rows = bench(options, ["raw", "--dir", directory, "--writers", options.connections, "--sizes", options.sizes,
                           "--seconds", str(min(options.seconds, 3))])
    return [(("lmtp", row["writers"]), row["appends_per_s"], row) for row in rows]


def run_rounds(options, work, servers):
    """figures[what][server name] is the list of one rate a round."""
    figures, rows = {}, []

    def keep(server_name, round_number, measured):
        for what, rate, row in measured:
            figures.setdefault(what, {}).setdefault(server_name, []).append(rate)
            rows.append({"what": what[0], "connections": what[1], "server": server_name, "round": round_number, **row})

    for round_number in range(options.rounds):
        if "lmtp" in options.scenarios:
            keep("raw", round_number, measure_raw(options, work))
        for server in servers if round_number % 2 == 0 else reversed(servers):
            print(f"round {round_number + 1}: {server.name}", file=sys.stderr)
            server.start()
            try:
                if "pop3" in options.scenarios:
                    if server.pids() or server.name != "canopy":  # not one that runs already: it is warm
                        keep(server.name, round_number, measure_cold_logins(options, server))
                    keep(server.name, round_number, measure_pop3(options, server))
                if "lmtp" in options.scenarios and "tuned" not in server.name:
                    keep(server.name, round_number, measure_lmtp(options, server))
            finally:
                server.stop()
    return figures, rows


def table(figures):
    lines = [f"{'what':<14} {'conn':>4}  {'server':<22} {'per s':>8}  {'rounds':<26} {'canopy/it':>9}"]
    result = []
    for what in sorted(figures):
        canopy = figures[what].get("canopy")
        canopy_median = statistics.median(canopy) if canopy else None
        for name, rates in figures[what].items():
            median = statistics.median(rates)
            ratio = canopy_median / median if canopy_median and median and name != "canopy" else None
            result.append({"what": what[0], "connections": what[1], "server": name, "median": median,
                           "least": min(rates), "most": max(rates), "canopy_ratio": ratio})
            spread = f"{min(rates):.0f} to {max(rates):.0f}, {len(rates)} rounds"
            lines.append(f"{what[0]:<14} {what[1]:>4}  {name:<22} {median:>8.0f}  {spread:<26} "
                         + (f"{ratio:>8.2f}x" if ratio else ""))
        others = [r for r in result if (r["what"], r["connections"]) == what and r["server"].startswith("dovecot")]
        if canopy_median and others:
            best = max(others, key=lambda r: r["median"])
            if best["median"]:
                lines.append(f"{'':<14} {'':>4}  best other: {best['server']}, {canopy_median / best['median']:.2f}x")
    return "\n".join(lines), result


def parse_options(words):
    parser = argparse.ArgumentParser(prog="canopy-bench compare dovecot --", description=__doc__)
    parser.add_argument("--bench", default=shutil.which("canopy-bench"), help="the canopy-bench program")
    parser.add_argument("--formats", default=",".join(FORMATS), help="Dovecot's mailbox formats")
    parser.add_argument("--scenarios", default="lmtp,pop3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each row")
    parser.add_argument("--connections", default="1,16,64", help="of LMTP")
    parser.add_argument("--accounts", type=int, default=1000, help="that LMTP delivers to")
    parser.add_argument("--pop3-accounts", type=int, default=100)
    parser.add_argument("--messages", type=int, default=50, help="in each POP3 account")
    parser.add_argument("--sizes", default="2048-76800")
    parser.add_argument("--pipelining", action="store_true")
    parser.add_argument("--no-tuned", action="store_true", help="leave out Dovecot with reused POP3 processes")
    parser.add_argument("--no-canopy", action="store_true", help="only Dovecot, to look at the driver")
    parser.add_argument("--canopy-bin", help="folder of canopyd and canopy-frontend; default: canopy-bench's own")
    parser.add_argument("--canopy-lmtp", help="address of a Canopy that runs already and has the accounts "
                        "user%%05d and pop%%05d of company.com")
    parser.add_argument("--canopy-pop3")
    parser.add_argument("--frontend-config", help="template; @BACKEND@, @LMTP@ and @POP3@ are filled in")
    parser.add_argument("--work-dir", help="where everything lies meanwhile: the file system that is measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    options.scenarios = options.scenarios.split(",")
    if not options.bench:
        fail("--bench must name the canopy-bench program")
    return options


def main():
    options = parse_options(sys.argv[1:])
    missing = [path for path in ("/usr/lib/dovecot/lmtp", "/usr/lib/dovecot/pop3") if not os.path.exists(path)]
    if not shutil.which("dovecot") or missing:
        fail("Dovecot is missing: apt-get install dovecot-core dovecot-lmtpd dovecot-pop3d")
    if os.geteuid() != 0:
        fail("Dovecot's master process needs root")
    work = tempfile.mkdtemp(prefix="canopy-compare-", dir=options.work_dir)
    os.chmod(work, 0o755)
    accounts = max(options.accounts, options.pop3_accounts)
    servers = []
    try:
        for mail_format in options.formats.split(","):
            servers.append(Dovecot(f"{work}/{mail_format}", mail_format, accounts, tuned=False))
        if "pop3" in options.scenarios and not options.no_tuned:
            first = options.formats.split(",")[0]
            servers.append(Dovecot(f"{work}/{first}-tuned", first, accounts, tuned=True))
        if not options.no_canopy:
            servers.append(Canopy(f"{work}/canopy", options))
        figures, rows = run_rounds(options, work, servers)
        text, result = table(figures)
        print(json.dumps({"scenario": "compare dovecot", "rows": result, "rounds": rows}) if options.json else text)
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
