//! The words every other folder speaks, and the two seams to the machine.
//!
//! Floor 0. *Invariant:* knows no other folder; no sockets, no HTTP, no file formats.
//!
//! | file | noun |
//! |---|---|
//! | `record` | one log record as it travels from decoder to screen |
//! | `value` | the value of a field |
//! | `names` | hosts, apps and tags, each kept once |
//! | `flatten` | nested values to flat fields |
//! | `json` | JSON text to flat fields |
//! | `time` | instants, ranges, zones, and the texts they are read from |
//! | `written` | a date and time as somebody wrote it, and the instant that it means |
//! | `split` | the one tokenizer, and the splitter of lines into what varies and what does not |
//! | `stamp` | times inside of lines, as numbers that give back the same text |
//! | `fold` | case, width and compatibility folding for search |
//! | `find` | a text in a text |
//! | `size` | a number of bytes, for people |
//! | `limits` | every bound of the program with its reason |
//! | `error` | errors by cause and remedy |
//! | `machine` | the clock and the disk, real |
//! | `durable` | what is durable when: the door to the disk, of single steps of either |
//! | `sim` | the clock and the disk, simulated, with faults by seed |
//! | `metrics` | counters, and their Prometheus text |

pub mod durable;
pub mod error;
pub mod find;
pub mod flatten;
pub mod fold;
pub mod json;
pub mod limits;
pub mod machine;
pub mod metrics;
pub mod names;
pub mod record;
pub mod sim;
pub mod size;
pub mod split;
pub mod stamp;
pub mod time;
pub mod value;
pub mod written;
