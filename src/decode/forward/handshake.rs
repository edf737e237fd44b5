//! The handshake of the forward protocol v1: HELO, PING, PONG.
//!
//! Stands before the first message of a connection whose listener has a shared key. Pure: the two
//! random values come from the caller. Digests are hexadecimal SHA-512 of joined bytes; salts are
//! any bytes, and come as str or bin.

use std::fmt::Write as _;

use rmp::encode::{
    ValueWriteError, write_array_len, write_bin, write_bool, write_map_len, write_str,
};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use crate::decode::Reject;
use crate::decode::forward::msgpack::{Reader, Token};

/// What a listener asks of its senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// The secret of both sides; may be empty.
    pub shared_key: String,
    /// How we call ourselves.
    pub self_hostname: String,
    /// Name and password of who may send; empty: nobody is asked.
    pub users: Vec<(String, String)>,
}

/// One connection's handshake, until its PING is answered.
#[derive(Debug)]
pub(super) struct Handshake {
    security: std::sync::Arc<Security>,
    nonce: [u8; 16],
    auth_salt: [u8; 16],
}

/// The answer to a PING.
pub(super) struct Pong {
    pub(super) bytes: Vec<u8>,
    /// Why the connection is to be closed after it.
    pub(super) refused: Option<Reject>,
}

impl Handshake {
    pub(super) fn new(
        security: std::sync::Arc<Security>,
        nonce: [u8; 16],
        auth_salt: [u8; 16],
    ) -> Self {
        Self { security, nonce, auth_salt }
    }

    /// What we say first.
    pub(super) fn hello(&self) -> Vec<u8> {
        let salt: &[u8] = if self.security.users.is_empty() { &[] } else { &self.auth_salt };
        let write = || -> Result<Vec<u8>, ValueWriteError> {
            let mut out = Vec::new();
            write_array_len(&mut out, 2)?;
            write_str(&mut out, "HELO")?;
            write_map_len(&mut out, 3)?;
            write_str(&mut out, "nonce")?;
            write_bin(&mut out, &self.nonce)?;
            write_str(&mut out, "auth")?;
            write_bin(&mut out, salt)?;
            write_str(&mut out, "keepalive")?;
            write_bool(&mut out, true).map_err(ValueWriteError::InvalidDataWrite)?;
            Ok(out)
        };
        write().unwrap_or_default()
    }

    /// Judges the first message of the peer.
    pub(super) fn answer(&self, message: &[u8]) -> Result<Pong, Reject> {
        let ping = Ping::read(message).ok_or_else(|| Reject {
            reason: "no-handshake",
            detail: "the first message is no PING; this listener has a shared key".into(),
            can_continue: false,
        })?;
        let refusal = self.refusal(&ping);
        let proof = match refusal {
            Some(_) => String::new(),
            None => self.digest(ping.salt, self.security.self_hostname.as_bytes()),
        };
        Ok(Pong {
            bytes: self.pong(refusal.unwrap_or_default(), &proof).unwrap_or_default(),
            refused: refusal.map(|why| Reject {
                reason: "handshake-refused",
                detail: format!("{why} (client {})", String::from_utf8_lossy(ping.hostname)),
                can_continue: false,
            }),
        })
    }

    fn refusal(&self, ping: &Ping<'_>) -> Option<&'static str> {
        let wanted = self.digest(ping.salt, ping.hostname);
        if !same(&wanted, ping.digest) {
            return Some("shared_key mismatch");
        }
        // With nobody to be asked for, clients still fill these fields; they are not looked at.
        let is_known = self.security.users.is_empty()
            || self.security.users.iter().fold(false, |known, (name, password)| {
                let parts = [&self.auth_salt, name.as_bytes(), password.as_bytes()];
                let right = same(&hex_of(&parts), ping.password_digest);
                known | (right & bool::from(name.as_bytes().ct_eq(ping.user)))
            });
        (!is_known).then_some("username/password mismatch")
    }

    /// What proves that `hostname` knows the key.
    fn digest(&self, salt: &[u8], hostname: &[u8]) -> String {
        hex_of(&[salt, hostname, &self.nonce, self.security.shared_key.as_bytes()])
    }

    fn pong(&self, refusal: &str, proof: &str) -> Result<Vec<u8>, ValueWriteError> {
        let mut out = Vec::new();
        write_array_len(&mut out, 5)?;
        write_str(&mut out, "PONG")?;
        write_bool(&mut out, refusal.is_empty()).map_err(ValueWriteError::InvalidDataWrite)?;
        write_str(&mut out, refusal)?;
        write_str(&mut out, &self.security.self_hostname)?;
        write_str(&mut out, proof)?;
        Ok(out)
    }
}

struct Ping<'a> {
    hostname: &'a [u8],
    salt: &'a [u8],
    digest: &'a [u8],
    user: &'a [u8],
    password_digest: &'a [u8],
}

impl<'a> Ping<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        let Ok(Token::Array(6)) = reader.token() else { return None };
        let mut text = || match reader.token() {
            Ok(Token::Str(bytes) | Token::Bin(bytes)) => Some(bytes),
            _ => None,
        };
        (text()? == b"PING").then_some(())?;
        Some(Self {
            hostname: text()?,
            salt: text()?,
            digest: text()?,
            user: text()?,
            password_digest: text()?,
        })
    }
}

fn hex_of(parts: &[&[u8]]) -> String {
    let mut hash = Sha512::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().fold(String::with_capacity(128), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap_or_default();
        hex
    })
}

/// Equality that takes the same time wherever the texts differ.
fn same(wanted: &str, got: &[u8]) -> bool {
    wanted.as_bytes().ct_eq(got).into()
}
