//! What can go wrong, by name.

use std::path::PathBuf;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// Why a command ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option, or a combination of them, that has no meaning.
    #[error("{0}")]
    Usage(String),
    /// A table that is needed is not there.
    #[error("{}: no table `{table}` ({table}.parquet, {table}.csv, or files of that name in a directory)", dir.display())]
    NoTable {
        /// Where it was looked for.
        dir: PathBuf,
        /// Its name.
        table: &'static str,
    },
    /// A column that is needed is not there.
    #[error("{}: table `{table}` has no column `{column}`", path.display())]
    NoColumn {
        /// The file, or the directory.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A file is not what its name says.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A timeline file outside of the partitions.
    #[error("{}: timelines lie in timelines/gateway=NAME/date=YYYY-MM-DD/", .0.display())]
    Unpartitioned(PathBuf),
    /// The file system.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The query engine.
    #[error("query: {0}")]
    Query(#[from] Box<DataFusionError>),
    /// Columns that do not fit together.
    #[error("columns: {0}")]
    Columns(#[from] ArrowError),
    /// Nothing to work on.
    #[error("{0}")]
    Empty(String),
}

impl Error {
    /// The exit code: 2 bad usage, 1 anything else.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// With the path that the file system complained about.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }
}
