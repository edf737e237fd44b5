//! The one place that turns errors into HTTP (RFC 9457 problem documents).
//!
//! Floor 4, shared by `serve` and `ingest/http`.
