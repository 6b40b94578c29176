"""A home for pyp2p: one loopback address, and no way out of it.

pyp2p was written for the open internet: it asks time servers, web servers and routers about itself, and it
lets the kernel choose where a connection comes from. Here each process lives at one 127.x.y.z address:

* every socket that is bound or connected without saying where is bound to that address, so that servers
  which tell peers apart by address (as pyp2p's does) see as many peers as there are processes;
* what pyp2p asks about the machine (interfaces, routes) is answered by stand-ins;
* an audit hook ends the process the moment anything tries to reach an address that is not loopback, to
  resolve a name or to start a program. The hook sits below Python's socket classes and raising would not
  do: pyp2p has many a bare `except`.

Reports are JSON objects, one a line, on the standard output; what pyp2p prints goes to standard error.
Commands come on standard input; its end is the end of the process, so that no test leaves one behind.

This module is imported first, and pyp2p only through `settle`, because pyp2p keeps references to what it
finds at import.
"""

import ipaddress
import json
import os
import socket
import sys
import threading
import types

_REPORTS = os.fdopen(os.dup(1), "w", buffering=1)
_REPORT_LOCK = threading.Lock()
_STRAYED = 70


def report(event, **fields):
    """One line of JSON on the standard output."""
    with _REPORT_LOCK:
        _REPORTS.write(json.dumps(dict(event=event, **fields)) + "\n")


def settle(address):
    """Makes `address` the home of this process. To be called once, before pyp2p is imported.

    With P2POLL_OUTDOORS in the environment it may leave the loopback, because it runs in a network from which nothing
    leaves.
    """
    os.dup2(2, 1)
    if "P2POLL_OUTDOORS" not in os.environ:
        sys.addaudithook(_watch)
    _live_at(address)
    sys.modules["netifaces"] = _interfaces(address)
    sys.modules["pyroute2"] = _routes()
    sys.modules["ntplib"] = _time_servers()
    # Gone since Python 3.9; it only tuned a scheduler that is no more.
    if not hasattr(sys, "setcheckinterval"):
        sys.setcheckinterval = lambda _count: None


def quiet(*modules):
    """Keeps pyp2p from writing `error.log` into whatever directory the test was started in."""
    for module in modules:
        module.error_log_path = os.devnull


def watch_wire(sock_class):
    """Reports every line that pyp2p's connections send and take in, in the order in which it happens."""
    send_line, parse_buf = sock_class.send_line, sock_class.parse_buf

    def reporting_send_line(self, msg, *args, **kwargs):
        done = send_line(self, msg, *args, **kwargs)
        text = msg if isinstance(msg, str) else msg.decode("utf-8", "replace")
        report("sent", line=text, whole=done == len(text) + 2)
        return done

    def reporting_parse_buf(self, *args, **kwargs):
        lines = parse_buf(self, *args, **kwargs)
        for line in lines:
            report("received", line=line)
        return lines

    sock_class.send_line = reporting_send_line
    sock_class.parse_buf = reporting_parse_buf


class CommandReader:
    """The lines of standard input, for a loop that selects."""

    def __init__(self):
        self._rest = b""

    def fileno(self):
        return 0

    def read(self):
        """The commands that are there; ends the process with the input."""
        chunk = os.read(0, 65536)
        if not chunk:
            leave(0)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line.decode() for line in lines]


def leave(status):
    """Ends the process without pyp2p's exit handlers."""
    _REPORTS.flush()
    os._exit(status)


def leave_with_input():
    """For a process whose loop does not read commands: ends it when its standard input ends."""

    def wait():
        while os.read(0, 4096):
            pass
        leave(0)

    threading.Thread(target=wait, daemon=True).start()


def _watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        target = args[1]
        if isinstance(target, tuple) and not _is_loopback(target[0]):
            _stray(event, target)
    elif event == "socket.getaddrinfo" and args[0] is not None and not _is_numeric(args[0]):
        _stray(event, args[:2])
    elif event in ("socket.gethostbyname", "socket.gethostbyaddr", "subprocess.Popen", "os.system"):
        _stray(event, args)


def _stray(event, what):
    report("strayed", call=event, to=repr(what))
    leave(_STRAYED)


def _is_loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_numeric(host):
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
        return True
    except ValueError:
        return host in ("", b"")


def _live_at(home):
    class HomeSocket(socket.socket):
        def bind(self, address):
            super().bind(_at_home(self, address))

        def connect(self, address):
            self._come_from_home()
            super().connect(_at_home(self, address))

        def connect_ex(self, address):
            self._come_from_home()
            return super().connect_ex(_at_home(self, address))

        def _come_from_home(self):
            if self.family == socket.AF_INET and self.getsockname()[0] == "0.0.0.0":
                super().bind((home, 0))

    def _at_home(sock, address):
        if sock.family == socket.AF_INET and address[0] in ("", "0.0.0.0"):
            return (home, address[1])
        return address

    socket.socket = HomeSocket


def _interfaces(home):
    """The interface with the default route is the one with our address."""
    module = types.ModuleType("netifaces")
    module.AF_INET = socket.AF_INET
    module.gateways = lambda: {
        "default": {socket.AF_INET: ("127.0.0.1", "home")},
        socket.AF_INET: [("127.0.0.1", "home", True)],
    }
    module.interfaces = lambda: ["home"]
    module.ifaddresses = lambda _name: {socket.AF_INET: [{"addr": home}]}
    return module


def _routes():
    """pyp2p does without routes when reading them fails like this."""
    module = types.ModuleType("pyroute2")

    def refuse():
        raise IOError("no routes at home")

    module.IPDB = refuse
    return module


def _time_servers():
    module = types.ModuleType("ntplib")

    class NTPClient:
        def request(self, server, **_options):
            _stray("ntp", server)

    module.NTPClient = NTPClient
    return module
