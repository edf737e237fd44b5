//! Calls [`shirabe::cli`].

fn main() -> std::process::ExitCode {
    shirabe::cli::main()
}
