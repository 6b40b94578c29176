"""Starts pyp2p's rendezvous server on a free loopback port, prints its address, and serves until it is killed."""

import os
import sys

import pyp2p.rendezvous_server as server

# It prints every line that it gets and sends unless this is off, and is some times slower for it.
server.debug = 0

port = server.reactor.listenTCP(0, server.RendezvousFactory(), interface="127.0.0.1", backlog=1024)
address = port.getHost()
print("%s:%d" % (address.host, address.port), flush=True)
os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
server.reactor.run()
