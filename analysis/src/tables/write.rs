//! Tables as Parquet files.

use std::fs::File;
use std::path::Path;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::error::Error;

/// Writes a table; its rows. Without a batch there is no file.
///
/// # Errors
/// A batch cannot be made, or the file cannot be written.
pub fn write_parquet(
    path: &Path,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<usize, Error> {
    let failed = |error: parquet::errors::ParquetError| Error::Unreadable {
        path: path.into(),
        why: error.to_string(),
    };
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = None;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        if writer.is_none() {
            let file = File::create(path).map_err(Error::file(path))?;
            let schema = batch.schema();
            writer =
                Some(ArrowWriter::try_new(file, schema, Some(properties.clone())).map_err(failed)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch).map_err(failed)?;
        }
        rows += batch.num_rows();
    }
    if let Some(writer) = writer {
        writer.close().map_err(failed)?;
    }
    Ok(rows)
}
