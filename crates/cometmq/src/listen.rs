//! The ports of a process.

use crate::serve::StartError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The VIP port is so far below a broker's port.
const VIP_DISTANCE: u16 = 2;

/// So often a free pair is looked for, when any will do.
const PAIR_TRIES: usize = 32;

/// Listens on `port` (0: any free one). `flag` is how a user would choose another.
pub fn on(address: IpAddr, port: u16, flag: &'static str) -> Result<TcpListener, StartError> {
    bind(address, port).map_err(|source| StartError::Listen { address, port, flag, source })
}

/// A broker's ports.
pub struct Pair {
    /// For everybody.
    pub main: TcpListener,
    /// Its number.
    pub port: u16,
    /// The VIP port, two below, or why there is none.
    pub vip: Result<TcpListener, VipError>,
}

/// Why there is no VIP port. Only clients that ask for it explicitly, and Java clients before 4.5, miss it.
#[derive(Debug)]
pub struct VipError {
    /// Its number.
    pub port: u16,
    /// What the system says.
    pub source: io::Error,
}

/// Listens on `port` and its VIP port; with 0, on any pair of which both are free.
pub fn on_pair(address: IpAddr, port: u16, flag: &'static str) -> Result<Pair, StartError> {
    let mut tries = if port == 0 { PAIR_TRIES } else { 1 };
    loop {
        let main = on(address, port, flag)?;
        let port = main.local_addr().map_err(|source| StartError::Listen { address, port, flag, source })?.port();
        let vip_port = port.wrapping_sub(VIP_DISTANCE);
        let vip = match vip_port {
            0 | 65_534.. => Err(io::ErrorKind::AddrNotAvailable.into()),
            _ => bind(address, vip_port),
        };
        tries -= 1;
        if vip.is_ok() || tries == 0 {
            return Ok(Pair { main, port, vip: vip.map_err(|source| VipError { port: vip_port, source }) });
        }
    }
}

fn bind(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a process that has just ended must not keep its successor from the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn any_free_pair_has_its_vip_port_two_below() {
        let pair = on_pair(LOOPBACK, 0, "--broker-port").unwrap();
        assert_eq!(pair.vip.unwrap().local_addr().unwrap().port(), pair.port - 2);
    }

    #[test]
    fn a_taken_vip_port_is_done_without() {
        let free = on_pair(LOOPBACK, 0, "--broker-port").unwrap();
        let port = free.port;
        drop(free.main);
        let pair = on_pair(LOOPBACK, port, "--broker-port").unwrap();
        assert_eq!((pair.port, pair.vip.unwrap_err().port), (port, port - 2));
    }

    #[test]
    fn a_taken_port_is_named_with_the_flag_that_changes_it() {
        let taken = on(LOOPBACK, 0, "--namesrv-port").unwrap();
        let port = taken.local_addr().unwrap().port();
        let Err(StartError::Listen { port: named, flag, source, .. }) = on(LOOPBACK, port, "--namesrv-port") else {
            panic!("a port can't be listened on twice");
        };
        assert_eq!((named, flag, source.kind()), (port, "--namesrv-port", io::ErrorKind::AddrInUse));
    }
}
