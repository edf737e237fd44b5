//! shirabe (調べ): takes the logs of every server, container and application, keeps them small,
//! and lets anybody find a line in a browser.
//!
//! ```text
//!  a log line leaves a machine                                               a person reads it
//!       |                                                                            ^
//!       v                                                                            | html, json, sse
//!  +---------+ bytes +--------+ record +--------+ record +-------+  rows  +-------+  |
//!  | ingest  |------>| decode |------->| refine |------->| store |------->| query |->+ serve
//!  | sockets,|       | pure   |        | rules, |        | log   |        | plan, |    pages, API,
//!  | limits  |<------|        |        | mask   |        | live  |        | scan  |    tail
//!  +---------+ reject+--------+        +--------+        | parts |        +-------+
//!       |                                                +-------+            ^
//!       | every accepted batch                             ^   v              |
//!       v                                            +---------------+        |
//!    watch: live tail                                | codec (pure)  |  watch: standing queries
//!                                                    +---------------+
//! ```
//!
//! Kept true: *a record is decoded once, refined once, in the log before it is acknowledged,
//! searchable in `live` at once, and parsed never again: sealing encodes it.*
//!
//! The trail of one syslog line, file by file: `ingest/socket` → `decode/frame` → `ingest/stream`
//! → `decode/syslog` → `refine/mod` → `ingest/mod` → `store/log` → `store/live` → `codec/mod` →
//! `store/segment` → `query/plan` → `query/scan` → `serve/search` → `serve/pages`.
//!
//! Floors (a file uses lower floors and its own folder; `tests/it/house.rs` holds them):
//!
//! | floor | folders |
//! |---|---|
//! | 0 | `base` |
//! | 1 | `config` `decode` `refine` `codec` |
//! | 2 | `store` |
//! | 3 | `query` |
//! | 4 | `watch` · `reply.rs` |
//! | 5 | `ingest` · `serve` |
//! | 6 | `cli` |

pub mod base;
pub mod cli;
pub mod codec;
pub mod config;
pub mod decode;
pub mod ingest;
pub mod query;
pub mod refine;
pub mod reply;
pub mod serve;
pub mod store;
pub mod watch;
