"""A pyp2p Net of the p2p network: `net.py HOME PORT NODE_TYPE SERVER_IP:PORT...`.

NODE_TYPE is `passive` (listens on PORT and is listed) or `active`. PORT 0 is a free one. Reports `listening`
with the port, `connected` and `closed` with the peer's address and how it came about (`accept` or `passive`),
and `line` for each line received. Commands on standard input:

    advertise           registers with the rendezvous server now
    bootstrap           asks the server for nodes and dials them, now
    dial IP PORT        dials a node without asking a server
    send TEXT           sends TEXT to every connection
    stop                clears the registration, closes everything and ends
"""

import os
import select
import sys
import time

import home

HOME, PORT, NODE_TYPE = sys.argv[1:4]
home.settle(HOME)

import pyp2p.net
import pyp2p.sock

home.quiet(pyp2p.sock)


class Clock:
    """In place of pyp2p's, which asks time servers."""

    def time(self):
        return time.time()


class Peers:
    """Which connections the Net has, reported as they come and go."""

    def __init__(self, net):
        self.net = net
        self.known = {}

    def report(self):
        nodes = {id(node["con"]): node for node in self.net.inbound + self.net.outbound}
        for key, node in nodes.items():
            if key not in self.known:
                # Keeping the node keeps its id from being used again.
                self.known[key] = node
                home.report("connected", peer=address(node), how=node["type"])
        for key in [key for key, node in self.known.items() if not node["con"].connected]:
            home.report("closed", peer=address(self.known.pop(key)))


def address(node):
    return "%s:%d" % (node["ip"], int(node["port"]))


def servers():
    for server in sys.argv[4:]:
        ip, port = server.rsplit(":", 1)
        yield dict(addr=ip, port=int(port))


def start():
    net = pyp2p.net.Net(
        net_type="p2p",
        nat_type="preserving",
        node_type=NODE_TYPE,
        passive_bind=HOME,
        passive_port=int(PORT),
        wan_ip=HOME,
        sys_clock=Clock(),
        error_log_path=os.devnull,
        servers=list(servers()),
    )
    net.disable_forwarding()
    net.start()
    # Iterating a Net bootstraps and advertises by itself when it never did; here the test says when.
    net.last_bootstrap = net.last_advertise = time.time()
    return net


def obey(net, command):
    name, _, rest = command.partition(" ")
    if name == "advertise":
        net.last_advertise = None
        net.advertise()
    elif name == "bootstrap":
        net.last_bootstrap = None
        net.bootstrap()
    elif name == "dial":
        ip, port = rest.split()
        net.add_node(ip, int(port), "passive")
    elif name == "send":
        net.broadcast(rest)
    elif name == "stop":
        net.stop()
        home.report("stopped")
        home.leave(0)
    home.report("done", step=name)


def main():
    net = start()
    peers = Peers(net)
    commands = home.CommandReader()
    home.report("listening", port=net.passive_port)
    while True:
        for con in net:
            peers.report()
            for line in con:
                home.report("line", peer="%s:%d" % (con.addr, int(con.port)), line=line)
        peers.report()
        inputs = [commands]
        if net.passive is not None and len(net.inbound) < net.max_inbound:
            inputs.append(net.passive)
        inputs += [node["con"].s for node in net.inbound + net.outbound if node["con"].connected]
        readable, _, _ = select.select(inputs, [], [])
        if commands in readable:
            for command in commands.read():
                obey(net, command)


main()
