//! `shirabe demo`: the server on a data directory of its own, and a lively small web shop that
//! logs to it, so that the first minute of use shows what the program is for.
//!
//! The shop sends over the network like everybody else: RFC 5424, octet-counted, to the syslog
//! listener that was bound. Nothing here reaches into the server.

mod story;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::base::machine::Clock;
use crate::base::time::Timestamp;

/// How much of the past is told at the start, seconds: four rounds, an hour, which is what the page
/// shows at first; the release that went wrong is always in sight.
const PAST_S: i64 = story::CYCLE_S * 4;

/// Where the shop stands in its story.
struct Shop {
    to: SocketAddr,
    connection: Option<TcpStream>,
}

impl Shop {
    /// Sends one second of the story; a connection that broke is made anew with the next.
    fn tell(&mut self, second: i64) {
        let mut frames = Vec::new();
        for line in story::second(second) {
            let pri = u16::from(line.facility) * 8 + line.severity as u16;
            let time = Timestamp::from_parts(second, line.nanos);
            let pid = line.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let (host, app) = (&line.host, line.app);
            let frame = format!("<{pri}>1 {time} {host} {app} {pid} - - {}", line.message);
            frames.extend_from_slice(format!("{} {frame}", frame.len()).as_bytes());
        }
        if self.connection.is_none() {
            self.connection = TcpStream::connect(self.to).ok();
        }
        let sent = self.connection.as_mut().is_some_and(|c| c.write_all(&frames).is_ok());
        if !sent {
            self.connection = None;
        }
    }
}

/// Is this one of the shop's apps? The server's own log stands in the same store.
pub(super) fn tells_of(app: &str) -> bool {
    app != "shirabe"
}

/// Tells the past at once, then the present as it happens, until `stop` ends or says so. What was
/// told before (`told`: when its newest line came) is not told again after a restart.
pub(super) fn tell(to: SocketAddr, told: Timestamp, clock: &dyn Clock, stop: &Receiver<()>) {
    let mut shop = Shop { to, connection: None };
    let past = clock.now().millis().div_euclid(1_000) - PAST_S;
    let mut next = past.max(told.millis().div_euclid(1_000) + 1);
    loop {
        let now = clock.now();
        while next < now.millis().div_euclid(1_000) {
            shop.tell(next);
            next += 1;
        }
        let until_next = (next + 1) * 1_000 - now.millis();
        let wait =
            Duration::from_millis(u64::try_from(until_next).unwrap_or(1_000).clamp(1, 1_000));
        if stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
