//! Wrong tokens: how many one address may try in a minute.
//!
//! A token may be short, and whoever reaches the port can try one after the other. Beyond the bound
//! an address is not told any more whether a token is right, until its minute is over. The same
//! wrong token again is no further guess, so that a client that was set up wrongly, and tries for
//! ever, shuts nobody out who shares its address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::base::limits::{GUESSERS_KNOWN_MAX, GUESSES_A_MINUTE_MAX};

const MINUTE: Duration = Duration::from_mins(1);

/// Who guessed lately.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, Guesser>>);

#[derive(Debug)]
struct Guesser {
    /// When its minute began, on the monotonic clock.
    since: Duration,
    wrong: u32,
    /// Hash of the last wrong token.
    last: [u8; 32],
}

impl Guesses {
    /// How long an address has to wait for its next try; `None`: not at all.
    pub(super) fn wait(&self, address: IpAddr, now: Duration) -> Option<Duration> {
        let guessers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let guesser = guessers.get(&network(address))?;
        let left = (guesser.since + MINUTE).saturating_sub(now);
        (guesser.wrong >= GUESSES_A_MINUTE_MAX && !left.is_zero()).then_some(left)
    }

    /// This token was wrong.
    pub(super) fn wrong(&self, address: IpAddr, token: &str, now: Duration) {
        let last = Sha256::digest(token).into();
        let address = network(address);
        let mut guessers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if guessers.len() >= GUESSERS_KNOWN_MAX && !guessers.contains_key(&address) {
            guessers.retain(|_, g| g.since + MINUTE > now);
            // Thousands at once: nobody can be told apart.
            if guessers.len() >= GUESSERS_KNOWN_MAX {
                return;
            }
        }
        let new = || Guesser { since: now, wrong: 0, last: [0; 32] };
        let guesser = guessers.entry(address).or_insert_with(new);
        if guesser.since + MINUTE <= now {
            *guesser = Guesser { last: guesser.last, ..new() };
        }
        if guesser.last != last {
            guesser.last = last;
            guesser.wrong += 1;
        }
    }
}

/// One customer has 2^64 addresses of version 6, so their network counts.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_address_has_so_many_tries_a_minute() {
        let (guesses, start) = (Guesses::default(), Duration::from_secs(500));
        for n in 0..GUESSES_A_MINUTE_MAX {
            assert_eq!(guesses.wait(ip("10.0.0.1"), start), None, "{n}");
            guesses.wrong(ip("10.0.0.1"), &n.to_string(), start);
        }
        let half = start + MINUTE / 2;
        assert_eq!(guesses.wait(ip("10.0.0.1"), half), Some(MINUTE / 2));
        assert_eq!(guesses.wait(ip("::ffff:10.0.0.1"), half), Some(MINUTE / 2));
        assert_eq!(guesses.wait(ip("10.0.0.2"), half), None);
        assert_eq!(guesses.wait(ip("10.0.0.1"), start + MINUTE), None);
        guesses.wrong(ip("10.0.0.1"), "again", start + MINUTE);
        assert_eq!(guesses.wait(ip("10.0.0.1"), start + MINUTE), None);
    }

    #[test]
    fn the_same_wrong_token_is_one_guess_and_a_network_one_guesser() {
        let (guesses, now) = (Guesses::default(), Duration::ZERO);
        for n in 0..2 * GUESSES_A_MINUTE_MAX {
            guesses.wrong(ip("10.0.0.1"), "typo", now);
            guesses.wrong(ip(&format!("2001:db8::{n:x}")), &n.to_string(), now);
        }
        assert_eq!(guesses.wait(ip("10.0.0.1"), now), None);
        assert!(guesses.wait(ip("2001:db8::ffff"), now).is_some());
        assert_eq!(guesses.wait(ip("2001:db8:0:1::1"), now), None);
    }

    #[test]
    fn so_many_guessers_are_known() {
        let (guesses, now) = (Guesses::default(), Duration::ZERO);
        let many = u32::try_from(GUESSERS_KNOWN_MAX).expect("small");
        for n in 0..=many {
            guesses.wrong(IpAddr::V4(n.into()), "x", now);
        }
        let known = || guesses.0.lock().expect("whole").len();
        assert_eq!(known(), GUESSERS_KNOWN_MAX);
        guesses.wrong(IpAddr::V4((many + 1).into()), "x", now + MINUTE);
        assert_eq!(known(), 1);
    }
}
