//! The binary `turnkeep-session`.

use std::process::ExitCode;

fn main() -> ExitCode {
    turnkeep_session::cli::main()
}
