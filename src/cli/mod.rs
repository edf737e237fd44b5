//! Commands: arguments, assembly, printing, exit codes (contract 1).
//!
//! Floor 6. *Invariant:* no logic worth a unit test.

mod demo;

use std::process::ExitCode;

/// Runs the program.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
