//! Names that come again and again (hosts, apps, tags), each kept once.
//!
//! Between decoders and records: a relay sends a million lines of a hundred hosts, and a record
//! should share its host's name rather than own a copy. Each thread has a table of its own, so that
//! nobody waits; names of two threads may be two copies of the same text.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// Most names of a thread's table, and what they may weigh together, bytes. Beyond it the table is
/// begun anew: names that never come again must not stay.
const NAMES_MAX: usize = 4_096;
const NAMES_BYTES_MAX: usize = 256 << 10;

#[derive(Default)]
struct Names {
    known: HashSet<Arc<str>, foldhash::fast::RandomState>,
    bytes: usize,
}

thread_local! {
    static NAMES: RefCell<Names> = RefCell::default();
}

/// The shared copy of `text`.
pub fn shared(text: &str) -> Arc<str> {
    NAMES.with_borrow_mut(|names| {
        if let Some(name) = names.known.get(text) {
            return Arc::clone(name);
        }
        let name: Arc<str> = text.into();
        if names.known.len() >= NAMES_MAX || names.bytes + text.len() > NAMES_BYTES_MAX {
            *names = Names::default();
        }
        names.bytes += text.len();
        names.known.insert(Arc::clone(&name));
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shared_and_bounded() {
        let first = shared("web-1");
        assert!(Arc::ptr_eq(&first, &shared("web-1")));
        for n in 0..2 * NAMES_MAX {
            shared(&n.to_string());
        }
        assert_eq!(Arc::strong_count(&first), 1, "it was forgotten");
        let long = "x".repeat(NAMES_BYTES_MAX + 1);
        assert_eq!(*shared(&long), long);
        NAMES.with_borrow(|names| assert!(names.known.len() <= NAMES_MAX));
    }
}
