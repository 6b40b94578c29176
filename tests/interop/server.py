"""pyp2p's rendezvous server: `server.py ADDRESS`.

Listens on a free port of ADDRESS, reports `listening` with the port, and then `heard` for each line that it
is sent and `said` for each that it answers, with the client's address.
"""

import sys

import home

home.settle(sys.argv[1])

import pyp2p.sock
from pyp2p import rendezvous_server
from twisted.internet import reactor

home.quiet(rendezvous_server, pyp2p.sock)
rendezvous_server.debug = 0


class Reporting(rendezvous_server.RendezvousProtocol):
    """pyp2p's protocol as it is; only watched."""

    def lineReceived(self, line):
        home.report("heard", peer=self._peer(), line=line.decode("utf-8", "backslashreplace"))
        super().lineReceived(line)

    def sendLine(self, line):
        home.report("said", peer=self._peer(), line=line.decode("utf-8", "backslashreplace"))
        super().sendLine(line)

    def connectionLost(self, reason):
        home.report("left", peer=self._peer())
        super().connectionLost(reason)

    def _peer(self):
        peer = self.transport.getPeer()
        return "%s:%d" % (peer.host, peer.port)


class Factory(rendezvous_server.RendezvousFactory):
    def buildProtocol(self, addr):
        return Reporting(self)


port = reactor.listenTCP(0, Factory(), interface=sys.argv[1])
home.report("listening", port=port.getHost().port)
home.leave_with_input()
reactor.run()
