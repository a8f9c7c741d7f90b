//! Logs: to stderr, for a person or for the journal. Only threads that are not data cores log.

use std::fmt;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;

use control::recent_log::RecentLog;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::writer::MakeWriterExt;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes what is at least as grave as `level`, and keeps the last of it.
pub fn start(level: Level) -> RecentLog {
    let kept = RecentLog::default();
    let copy = kept.clone();
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr.and(move || copy.clone()))
        .with_target(false)
        .with_max_level(level);
    if is_read_by_the_journal() {
        let format = tracing_subscriber::fmt::format().without_time().with_level(false);
        builder.with_ansi(false).event_format(ForJournal(format.with_target(false))).init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
    kept
}

/// `JOURNAL_STREAM` names device and inode of the stream that the journal reads: stderr, unless somebody
/// has led it elsewhere since.
fn is_read_by_the_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
}

/// A line as the journal wants it (`sd-daemon(3)`): the level in front, which it files by; the time is its
/// own.
struct ForJournal(Format<tracing_subscriber::fmt::format::Full, ()>);

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// As syslog counts.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
