"""Ports of this machine for servers of tests, which no two test programs get at one time.

Below those that the system gives to outgoing connections, which would otherwise be in the way when a server comes
back on its port. A port is held by a name in the abstract Unix namespace, which its holder's end gives back and
which other network namespaces do not see.
"""
import random
import socket

FIRST, LAST = 10240, 32000
_held = []  # until the process ends


def hold(port, inheritable=False):
    """Whether it is this process's now; with `inheritable`, also that of the program which it becomes."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0canopy-test-port-{port}")
    except OSError:
        name.close()
        return False
    name.set_inheritable(inheritable)
    _held.append(name)
    return True


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def reserve(count=1, inheritable=False):
    """The first of `count` ports in a row that nobody listens on, held while this process lives."""
    for _ in range(200):
        first = random.randrange(FIRST, LAST, count)
        ports = range(first, first + count)
        if all(hold(port, inheritable) for port in ports) and all(map(is_free, ports)):
            return first
    raise RuntimeError("no free ports")
