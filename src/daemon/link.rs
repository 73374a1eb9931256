//! What keeper and server say to each other, over a socket pair that keeps the borders of messages.
//!
//! ```text
//! server -> keeper   Opened | Refused     once the store is open, or cannot be
//! keeper -> server   Serve                once the mount is there
//! server -> keeper   Serving              once the session is joined
//! server -> keeper   Shown                once what containers have is mounted
//! ```
//!
//! A keeper outlives the program it was started from: a server of a later version may be at the
//! other end. So messages and their fields only ever gain company at the end of these enums.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sys;

/// More than any message needs: INIT is about a hundred bytes, a path at most 4,096.
const MAX_MESSAGE: usize = 64 << 10;

/// A path as it travels: bytes, since paths need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WirePath(Vec<u8>);

impl From<&Path> for WirePath {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<WirePath> for PathBuf {
    fn from(path: WirePath) -> Self {
        OsString::from_vec(path.0).into()
    }
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromServer {
    /// The store is open.
    Opened {
        /// The directory that the keeper is to make ready for it.
        run_root: WirePath,
    },
    /// The store cannot be served; a sentence for people says why.
    Refused(String),
    /// The session is joined: requests are answered from now on.
    Serving,
    /// What is mounted shows in the tree; the first server of a connection says so.
    Shown,
}

/// What the keeper says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromKeeper {
    /// Join the connection and serve it.
    Serve(Serve),
}

/// All that a server needs to know of the connection it joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serve {
    /// The kernel's INIT request.
    pub init: Vec<u8>,
    /// Whether no server has answered INIT yet.
    pub first: bool,
    /// The random name of this connection; request numbers are unique in it.
    pub connection: u64,
    /// The user who mounted.
    pub uid: u32,
    /// That user's group.
    pub gid: u32,
    /// Where it was mounted.
    pub mountpoint: WirePath,
    /// The directory made ready for the server.
    pub run_root: WirePath,
}

/// Why nothing came over the link.
#[derive(Debug)]
pub enum LinkError {
    /// The other process is gone.
    Closed,
    /// The socket failed.
    Socket(io::Error),
    /// The bytes are no message of ours.
    Garbled(postcard::Error),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other end of the link is gone"),
            Self::Socket(error) => write!(f, "the link between keeper and server: {error}"),
            Self::Garbled(error) => {
                write!(f, "a message that keeper and server differ on: {error}")
            }
        }
    }
}

impl std::error::Error for LinkError {}

/// One end of the link: says `Out`, hears `In`.
#[derive(Debug)]
pub struct Link<Out, In> {
    socket: File,
    words: PhantomData<fn(Out) -> In>,
}

/// The keeper's end.
pub type KeeperLink = Link<FromKeeper, FromServer>;
/// The server's end.
pub type ServerLink = Link<FromServer, FromKeeper>;

/// Both ends of a new link; the server's goes to its process.
pub fn pair() -> io::Result<(KeeperLink, OwnedFd)> {
    let (ours, theirs) = sys::fd::message_pair()?;
    Ok((Link::from(ours), theirs))
}

impl<Out, In> From<OwnedFd> for Link<Out, In> {
    fn from(socket: OwnedFd) -> Self {
        Self { socket: File::from(socket), words: PhantomData }
    }
}

impl<Out, In> AsFd for Link<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<Out: Serialize, In: DeserializeOwned> Link<Out, In> {
    /// Another handle of the same end.
    pub fn try_clone(&self) -> Result<Self, LinkError> {
        let copy = self.as_fd().try_clone_to_owned().map_err(LinkError::Socket)?;
        Ok(Self::from(copy))
    }

    /// Sends one message.
    pub fn send(&self, message: &Out) -> Result<(), LinkError> {
        let bytes = postcard::to_allocvec(message).map_err(LinkError::Garbled)?;
        match (&self.socket).write(&bytes) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(LinkError::Closed),
            Err(error) => Err(LinkError::Socket(error)),
        }
    }

    /// Waits for one message.
    pub fn receive(&self) -> Result<In, LinkError> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let length = match (&self.socket).read(&mut bytes) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(LinkError::Socket(error)),
        };
        if length == 0 {
            return Err(LinkError::Closed);
        }
        postcard::from_bytes(&bytes[..length]).map_err(LinkError::Garbled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_one_by_one_and_the_end_is_told() {
        let (keeper, theirs) = pair().unwrap();
        let server = ServerLink::from(theirs);
        let opened = FromServer::Opened { run_root: Path::new("/run/x").into() };
        server.send(&opened).unwrap();
        server.send(&FromServer::Serving).unwrap();
        assert_eq!(keeper.receive().unwrap(), opened);
        assert_eq!(keeper.receive().unwrap(), FromServer::Serving);
        drop(server);
        assert!(matches!(keeper.receive(), Err(LinkError::Closed)));
    }
}
