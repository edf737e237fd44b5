//! Standing queries: who is told of a record the moment it is durable.
//!
//! Floor 4. *Invariant:* never makes the store wait; a reader that is too slow loses records and is
//! told how many.

pub mod tail;
