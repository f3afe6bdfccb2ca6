//! The `moby` program.

fn main() -> std::process::ExitCode {
    moby::cli::main()
}
