//! A `Net` or a server inside somebody else's loop, on unix: as a file descriptor, or as a source of mio's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::{Net, Rendezvous};

macro_rules! embed {
    ($name:ident) => {
        /// On unix only. The descriptor is readable when there is something to do. It is only to be waited on; then call the methods
        /// that drive it, and wait no longer than `next_wakeup()` says.
        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.registry.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.registry.as_raw_fd()
            }
        }

        impl Source for $name {
            fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
                SourceFd(&self.as_raw_fd()).register(registry, token, interests)
            }

            fn reregister(
                &mut self,
                registry: &Registry,
                token: Token,
                interests: Interest,
            ) -> io::Result<()> {
                SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
            }

            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                SourceFd(&self.as_raw_fd()).deregister(registry)
            }
        }
    };
}

embed!(Net);
embed!(Rendezvous);
