//! From answers to HTTP: the API, the pages, the live stream.
//!
//! Floor 5. *Invariant:* knows nothing of `ingest`; `cli` merges its routes into ours.
