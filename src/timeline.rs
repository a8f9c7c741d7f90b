//! The timeline of a live run, where the config asks for one.

use std::error::Error;
use std::time::Duration;

use control::timeline::{Options, Place, Timeline, WhenFull, Written};
use model::config::Config;

/// How long a disk may take to take the rest.
const WAIT: Duration = Duration::from_secs(5);

/// Starts its writer; `None`: there is no `[timeline]`.
///
/// # Errors
/// Its files cannot be made.
pub fn start(config: &Config) -> Result<Option<Timeline>, Box<dyn Error>> {
    let Some(section) = &config.timeline else { return Ok(None) };
    let directory = section.directory.as_ref().ok_or("[timeline] without a directory")?;
    let options = Options {
        place: Place::Directory {
            path: directory.into(),
            name: config.gateway.name.clone(),
            rotate_bytes: section.rotate_bytes,
            rotate_time: section.rotate_time,
            keep: section.keep,
        },
        when_full: WhenFull::Lose,
        queue_rows: section.queue_rows,
        host: Some(crate::host::name()),
        env_digest: Some(crate::environment::digest(config)),
    };
    Ok(Some(Timeline::start(config, options)?))
}

/// Completes its files. One that fails takes nothing else along: the run has ended in order, and what it
/// has come to says why.
pub fn finish(timeline: Timeline) -> Written {
    let written = timeline.finish_within(WAIT);
    if let Some(failed) = &written.failed {
        tracing::error!("the timeline is not complete: {failed}");
    }
    written
}
