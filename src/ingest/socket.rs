//! What is bound: datagrams and connections, and the bounds that hold whoever sends.
//!
//! Binding and accepting are two steps, so that every address is known (and every mistake told)
//! before the first byte is read. A bad sender costs itself: each connection is a task of its own
//! with buffers that grow with what it sends, their number is bounded, and what each may queue is
//! given out in turns by [`Intake`].

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::base::machine::{self, Clock};
use crate::base::metrics::Counter;
use crate::base::record::Record;
use crate::config::{Bound, Config, Forward, Syslog, Transport};
use crate::decode::{Origin, syslog};
use crate::ingest::{Intake, stream, tls};

/// How often a free port is looked for that UDP and TCP have in common.
const PORT_TRIES: usize = 50;

/// What all ways in share; cheap to clone.
#[derive(Clone)]
pub struct Ways {
    pub(super) intake: Intake,
    pub(super) clock: Arc<dyn Clock>,
    /// How long one message of a stream may take.
    pub(super) message_patience: Duration,
    /// Room for large messages that are not whole yet, in kibibytes.
    held: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
    /// When the last clone is gone, all connections are.
    #[expect(dead_code, reason = "the gate waits for its end, nothing is sent")]
    alive: mpsc::Sender<Infallible>,
}

/// Closes what [`Ways`] opened.
pub struct Gate {
    stop: watch::Sender<bool>,
    alive: mpsc::Receiver<Infallible>,
}

impl Ways {
    /// Ways into `intake`, and the gate that closes them.
    pub fn new(intake: Intake, clock: Arc<dyn Clock>) -> (Self, Gate) {
        let (stop, stopping) = watch::channel(false);
        let (alive, gone) = mpsc::channel(1);
        let message_patience = Duration::from_secs(limits::MESSAGE_SECONDS_MAX);
        let held = Arc::new(Semaphore::new(limits::FORWARD_HELD_BYTES_MAX >> 10));
        let ways = Self { intake, clock, message_patience, held, stopping, alive };
        (ways, Gate { stop, alive: gone })
    }

    /// Returns once the gate closes.
    pub(super) async fn stopped(&mut self) {
        // An error means that the gate is gone, which closes it too.
        drop(self.stopping.wait_for(|stop| *stop).await);
    }

    /// Room for so many kibibytes of a message that is not whole; `None` where others hold it.
    pub(super) fn hold(&self, kib: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(kib).ok()?;
        Arc::clone(&self.held).try_acquire_many_owned(kib).ok()
    }

    pub(super) fn count(&self, counter: Counter, labels: &[&str], n: u64) {
        if n > 0 {
            self.intake.metrics().add(counter, labels, n);
        }
    }
}

impl Gate {
    /// Accepts no more, lets connections hand in what they have and answer it, for at most
    /// `patience`.
    pub async fn close(mut self, patience: Duration) {
        self.stop.send_replace(true);
        // Nothing is ever sent: the channel ends when the last task is gone, or patience does.
        drop(tokio::time::timeout(patience, self.alive.recv()).await);
    }
}

/// What is spoken on a listener.
#[derive(Clone)]
enum Wire {
    Syslog(Arc<Syslog>),
    Forward(Arc<Forward>),
}

/// TLS, where a stream has it.
struct Security(Option<TlsAcceptor>);

/// One socket that is bound and not yet read from.
enum Socket {
    Datagrams(UdpSocket),
    Stream(TcpListener, Option<TlsAcceptor>),
}

/// All that the configuration names, bound.
pub struct Entrances(Vec<(Bound, Socket, Wire)>);

impl Entrances {
    /// Binds everything, or nothing.
    pub fn bind(config: &Config) -> Result<Self> {
        let mut entrances = Vec::new();
        for syslog in &config.syslog {
            let udp = syslog.transport.contains(&Transport::Udp);
            let tcp = syslog.transport.iter().any(|t| *t != Transport::Udp);
            let tls = acceptor(syslog.tls.as_ref())?;
            let wire = Wire::Syslog(Arc::new(syslog.clone()));
            bind_pair(&mut entrances, &wire, syslog.listen, tcp.then_some(Security(tls)), udp)?;
        }
        for forward in &config.forward {
            let tls = acceptor(forward.tls.as_ref())?;
            let udp = tls.is_none();
            let wire = Wire::Forward(Arc::new(forward.clone()));
            bind_pair(&mut entrances, &wire, forward.listen, Some(Security(tls)), udp)?;
        }
        Ok(Self(entrances))
    }

    /// What is bound really.
    pub fn bound(&self) -> Vec<Bound> {
        self.0.iter().map(|(bound, ..)| bound.clone()).collect()
    }

    /// Reads from now on.
    pub fn open(self, ways: &Ways) {
        for (bound, socket, wire) in self.0 {
            let ways = ways.clone();
            match (socket, wire) {
                (Socket::Datagrams(socket), Wire::Syslog(syslog)) => {
                    tokio::spawn(datagrams(socket, bound.address, syslog, ways));
                }
                (Socket::Datagrams(socket), Wire::Forward(_)) => {
                    tokio::spawn(heartbeats(socket, ways));
                }
                (Socket::Stream(listener, tls), wire) => {
                    tokio::spawn(accept(listener, tls, wire, ways));
                }
            }
        }
    }
}

impl Wire {
    fn protocol(&self) -> &'static str {
        match self {
            Self::Syslog(_) => "syslog",
            Self::Forward(_) => "forward",
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Syslog(syslog) => &syslog.name,
            Self::Forward(forward) => &forward.name,
        }
    }

    /// What a decoder must know of a peer. An IPv4 peer stays one on a socket that takes both.
    fn origin(&self, transport: &str, peer: IpAddr) -> Origin {
        let mut origin = Origin::new(self.name(), transport, &peer.to_canonical().to_string());
        if let Self::Syslog(syslog) = self {
            origin.zone = syslog.time_zone.clone();
            origin.encoding = syslog.encoding;
        }
        origin
    }
}

fn transport_of(tls: Option<&TlsAcceptor>) -> &'static str {
    if tls.is_some() { "tls" } else { "tcp" }
}

fn acceptor(files: Option<&crate::config::Tls>) -> Result<Option<TlsAcceptor>> {
    let unusable = |e: tls::TlsError| {
        let path = files.map(|f| f.cert.clone()).unwrap_or_default();
        Error::io("use the certificate", path, io::Error::other(e))
    };
    files.map(|files| tls::acceptor(files).map_err(unusable)).transpose()
}

/// A TCP listener for anything (HTTP too), as this program wants them.
pub fn listen_tcp(protocol: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listen = || {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // So that a restart need not wait for old connections to be forgotten.
        socket.set_reuse_address(true)?;
        prepare(&socket, address)?;
        socket.listen(1_024)?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(|e| cannot_listen(protocol, "tcp", address, e))
}

fn listen_udp(protocol: &str, address: SocketAddr) -> Result<(UdpSocket, SocketAddr)> {
    let listen = || {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // The kernel grants what `net.core.rmem_max` allows, without an error.
        socket.set_recv_buffer_size(limits::UDP_BUFFER_BYTES)?;
        prepare(&socket, address)?;
        let socket = UdpSocket::from_std(socket.into())?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    listen().map_err(|e| cannot_listen(protocol, "udp", address, e))
}

fn prepare(socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, as people expect of it.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())
}

fn cannot_listen(protocol: &str, transport: &str, address: SocketAddr, source: io::Error) -> Error {
    Error::io("listen on", PathBuf::from(format!("{protocol}+{transport} {address}")), source)
}

/// Binds one number for both; with port 0 one that both have free. `stream`: is there one, and how
/// is it spoken to.
fn bind_pair(
    entrances: &mut Vec<(Bound, Socket, Wire)>,
    wire: &Wire,
    address: SocketAddr,
    stream: Option<Security>,
    udp: bool,
) -> Result<()> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    let (listener, datagrams) = loop {
        let listener = stream.as_ref().map(|_| listen_tcp(wire.protocol(), address)).transpose()?;
        let same = listener.as_ref().map_or(address, |(_, bound)| *bound);
        match udp.then(|| listen_udp(wire.protocol(), same)).transpose() {
            Ok(datagrams) => break (listener, datagrams),
            Err(e) if tries <= 1 => return Err(e),
            Err(_) => tries -= 1,
        }
    };
    let bound = |transport: &str, address| Bound {
        name: wire.name().to_owned(),
        protocol: wire.protocol().to_owned(),
        transport: transport.to_owned(),
        address,
    };
    if let Some((socket, address)) = datagrams {
        entrances.push((bound("udp", address), Socket::Datagrams(socket), wire.clone()));
    }
    if let (Some((listener, address)), Some(Security(tls))) = (listener, stream) {
        let transport = transport_of(tls.as_ref());
        let socket = Socket::Stream(listener, tls);
        entrances.push((bound(transport, address), socket, wire.clone()));
    }
    Ok(())
}

/// Accepts until the gate closes.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, wire: Wire, mut ways: Ways) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            // First, also while the gate closes: who has connected before has a yes from the
            // kernel, and may have sent what nobody else has any more.
            biased;
            accepted = listener.accept() => accepted,
            () = ways.stopped() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors or memory: what is open goes on, and others may end.
                tracing::warn!(listener = wire.name(), "cannot accept a connection: {e}");
                tokio::time::sleep(Duration::from_millis(limits::BACK_OFF_MS)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            ways.count(Counter::Closed, &[wire.name(), "too-many-connections"], 1);
            continue;
        };
        ways.count(Counter::Connections, &[wire.name()], 1);
        let (tls, wire, ways) = (tls.clone(), wire.clone(), ways.clone());
        tokio::spawn(async move {
            let closed = connection(stream, peer.ip(), tls, &wire, &ways).await;
            if let Some(reason) = closed {
                ways.count(Counter::Closed, &[wire.name(), reason], 1);
                tracing::info!(listener = wire.name(), %peer, reason, "closed a connection");
            }
            drop(place);
        });
    }
}

/// One connection from its first byte to its last. Why we closed it; `None` when the peer did.
async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    tls: Option<TlsAcceptor>,
    wire: &Wire,
    ways: &Ways,
) -> Option<&'static str> {
    // Finds out about senders that vanished; those that are merely silent may stay.
    let keepalive = TcpKeepalive::new().with_time(Duration::from_mins(1));
    drop(SockRef::from(&stream).set_tcp_keepalive(&keepalive));
    drop(stream.set_nodelay(true));
    let origin = wire.origin(transport_of(tls.as_ref()), peer);
    let Some(tls) = tls else { return talk(stream, origin, wire, ways).await };
    let patience = Duration::from_secs(limits::HANDSHAKE_SECONDS_MAX);
    match tokio::time::timeout(patience, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, origin, wire, ways).await,
        Ok(Err(e)) => {
            tracing::info!(listener = wire.name(), %peer, "the TLS handshake failed: {e}");
            Some("tls-handshake")
        }
        Err(_) => Some("tls-timeout"),
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    origin: Origin,
    wire: &Wire,
    ways: &Ways,
) -> Option<&'static str> {
    match wire {
        Wire::Syslog(_) => stream::syslog(stream, &origin, ways.clone()).await,
        Wire::Forward(forward) => stream::forward(stream, origin, forward, ways.clone()).await,
    }
}

/// Reads syslog datagrams until the gate closes, then what the kernel still has.
async fn datagrams(socket: UdpSocket, address: SocketAddr, syslog: Arc<Syslog>, mut ways: Ways) {
    let name = syslog.name.clone();
    let wire = Wire::Syslog(syslog);
    let mut origins = HashMap::new();
    let mut buffer = vec![0; limits::DATAGRAM_BYTES_MAX];
    let mut kernel = KernelDrops { address, seen: 0 };
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut open = true;
    while open {
        tokio::select! {
            ready = socket.readable() => if let Err(e) = ready {
                tracing::warn!(listener = name, "cannot read datagrams: {e}");
                tokio::time::sleep(Duration::from_millis(limits::BACK_OFF_MS)).await;
            },
            _ = tick.tick() => {
                ways.count(Counter::UdpKernelDrops, &[&name], kernel.since_last());
                continue;
            }
            () = ways.stopped() => open = false,
        }
        loop {
            let (records, all) = read_datagrams(&socket, &wire, &mut origins, &mut buffer, &ways);
            if !records.is_empty() {
                ways.intake.offer(records);
            }
            if all {
                break;
            }
            // Others have their turn between two batches.
            tokio::task::yield_now().await;
        }
    }
    ways.count(Counter::UdpKernelDrops, &[&name], kernel.since_last());
}

/// What is there now, as one batch, and whether that was all: what gives no record counts too, so
/// that a flood of it does not keep the thread.
fn read_datagrams(
    socket: &UdpSocket,
    wire: &Wire,
    origins: &mut HashMap<IpAddr, Origin>,
    buffer: &mut [u8],
    ways: &Ways,
) -> (Vec<Record>, bool) {
    let received = ways.clock.now().floor_to_millis();
    let (mut records, mut datagrams, mut bytes) = (Vec::new(), 0, 0);
    let mut all = false;
    while datagrams < limits::DATAGRAMS_AT_ONCE_MAX && bytes < limits::DATAGRAM_BYTES_AT_ONCE_MAX {
        let Ok((len, peer)) = socket.try_recv_from(buffer) else {
            all = true;
            break;
        };
        datagrams += 1;
        let datagram = buffer.get(..len).unwrap_or_default();
        bytes += len;
        if origins.len() >= limits::PEERS_KNOWN_MAX {
            origins.clear();
        }
        let origin = origins.entry(peer.ip()).or_insert_with(|| wire.origin("udp", peer.ip()));
        match syslog::read_datagram(datagram, received, origin) {
            Ok(Some(record)) => records.push(record),
            Ok(None) => ways.count(Counter::Rejected, &[wire.name(), "empty"], 1),
            Err(reject) => ways.count(Counter::Rejected, &[wire.name(), reject.reason], 1),
        }
    }
    ways.count(Counter::Bytes, &[wire.name()], bytes as u64);
    (records, all)
}

/// Answers the heartbeats of fluentd: any datagram gets one zero byte, never more than it sent.
async fn heartbeats(socket: UdpSocket, mut ways: Ways) {
    let mut buffer = [0; 16];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = ways.stopped() => return,
        };
        match received {
            // One that cannot be answered is asked again by the peer.
            Ok((1.., peer)) => drop(socket.send_to(&[0], peer).await),
            Ok((0, _)) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(limits::BACK_OFF_MS)).await,
        }
    }
}

/// What the kernel threw away because nobody read it in time.
struct KernelDrops {
    address: SocketAddr,
    seen: u64,
}

impl KernelDrops {
    /// Drops since the last call; none where the system does not tell.
    fn since_last(&mut self) -> u64 {
        let table = if self.address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
        let text = machine::read_file(Path::new(table)).unwrap_or_default();
        let total =
            kernel_drops(&String::from_utf8_lossy(&text), self.address).unwrap_or(self.seen);
        let new = total.saturating_sub(self.seen);
        self.seen = total;
        new
    }
}

/// The last column of the socket's row in `/proc/net/udp`.
fn kernel_drops(table: &str, address: SocketAddr) -> Option<u64> {
    let hex = |octets: &[u8]| {
        let words = octets.chunks_exact(4).map(|w| w.try_into().unwrap_or_default());
        #[expect(clippy::host_endian_bytes, reason = "the kernel prints words as they lie")]
        words.map(|w| format!("{:08X}", u32::from_ne_bytes(w))).collect::<Vec<_>>().concat()
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) => hex(&ip.octets()),
        IpAddr::V6(ip) => hex(&ip.octets()),
    };
    let own = format!("{ip}:{:04X}", address.port());
    table.lines().find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        (columns.nth(1)? == own).then(|| columns.last()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::machine::SystemClock;

    /// Datagrams of nothing, then one line, then large ones.
    #[tokio::test]
    async fn one_look_takes_so_many_datagrams_whatever_is_in_them() {
        let (intake, ..) = crate::ingest::tests::intake(1 << 20);
        let (ways, _gate) = Ways::new(intake, Arc::new(SystemClock::new()));
        let wire = Wire::Syslog(Arc::new(Syslog {
            name: "udp".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            transport: Vec::new(),
            encoding: None,
            time_zone: crate::base::time::Zone::utc(),
            tls: None,
        }));
        let (socket, address) = listen_udp("syslog", ([127, 0, 0, 1], 0).into()).unwrap();
        if SockRef::from(&socket).recv_buffer_size().unwrap() < 4 << 20 {
            return; // a kernel that holds no more drops what is counted here
        }
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (mut origins, mut buffer) = (HashMap::new(), vec![0; limits::DATAGRAM_BYTES_MAX]);
        for _ in 0..limits::DATAGRAMS_AT_ONCE_MAX {
            sender.send_to(b"", address).unwrap();
        }
        sender.send_to(b"<13>a line", address).unwrap();
        let mut look = || read_datagrams(&socket, &wire, &mut origins, &mut buffer, &ways);
        socket.readable().await.unwrap();
        let (records, all) = look();
        assert_eq!((records.len(), all), (0, false));
        let (records, all) = look();
        assert_eq!((records.len(), all), (1, true));
        let large = 1 + limits::DATAGRAM_BYTES_AT_ONCE_MAX / 60_000;
        for _ in 0..=large {
            sender.send_to(&vec![b'x'; 60_000], address).unwrap();
        }
        socket.readable().await.unwrap();
        let (records, all) = look();
        assert_eq!((records.len(), all), (large, false));
    }

    #[test]
    fn finds_its_row_among_the_kernels_sockets() {
        let table = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  371: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 3
  372: 00000000:158A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 42
  373: 00000000000000000000000001000000:158A 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 0 1 2 0 7
";
        for (address, drops) in [
            ("127.0.0.1:8080", Some(3)),
            ("0.0.0.0:5514", Some(42)),
            ("[::1]:5514", Some(7)),
            ("127.0.0.1:1", None),
        ] {
            assert_eq!(kernel_drops(table, address.parse().unwrap()), drops, "{address}");
        }
    }
}
