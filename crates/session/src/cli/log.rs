//! Where a server's log goes.

use tracing_subscriber::filter::LevelFilter;

use super::args::{Format, LogLevel};
use super::settings::Settings;

/// Writes what happens to stderr from now on, as lines or as JSON; keys and tokens are in neither.
///
/// A process logs to one place: calling it again changes nothing.
pub fn log_to_stderr(settings: &Settings) {
    let level = match settings.log {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false);
    let set = match settings.format {
        Format::Text => log.try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    };
    // Somebody has chosen already.
    drop(set);
}
