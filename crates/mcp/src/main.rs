//! `turnkeep-mcp`: serves the tools over stdin and stdout.

use std::process::ExitCode;

fn main() -> ExitCode {
    turnkeep_mcp::main()
}
