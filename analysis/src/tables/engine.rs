//! What queries run on.

use std::path::Path;
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::Error;

/// What queries may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory of all operators together; what needs more spills to disk.
    pub memory_bytes: usize,
    /// Parallel parts of a query.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 2 << 30, threads: 2 }
    }
}

/// A context for queries that spill to `scratch`.
pub(super) fn context(limits: Limits, scratch: &Path) -> Result<SessionContext, Error> {
    let spill = DiskManagerMode::Directories(vec![scratch.to_owned()]);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(spill))
        .build_arc()?;
    // Statistics of files leave out what is no number: a column that has one value beside would be taken for a
    // constant, and the row for a good one.
    let mut config = SessionConfig::new()
        .with_target_partitions(limits.threads)
        .with_information_schema(false)
        .with_collect_statistics(false);
    // Texts as they are, and no views of them: see `without_views` of the tables.
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}
