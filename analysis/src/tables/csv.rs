//! CSV by way of Parquet: rows are parsed once, those that cannot be are listed, the rest is written to a
//! file of the scratch directory with the line each came from.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampNanosecondBuilder, UInt32Builder, UInt64Builder,
};
use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;

use super::rules::{BadRow, BadRows};
use super::schema::{Column, Kind, Table};
use crate::error::Error;

/// The column with the line in the CSV file.
pub const LINE: &str = "_line";
/// Rows that are held before they are written.
const BATCH_ROWS: usize = 65_536;

/// Writes the rows of the CSV file `from` that can be read to the Parquet file `to`.
///
/// # Errors
/// A file cannot be read or written, or a needed column is not there.
pub fn to_parquet(table: &Table, from: &Path, to: &Path, bad: &mut BadRows) -> Result<(), Error> {
    let unreadable =
        |why: &dyn std::fmt::Display| Error::Unreadable { path: from.into(), why: why.to_string() };
    let mut reader = ::csv::ReaderBuilder::new()
        .flexible(true)
        .trim(::csv::Trim::All)
        .from_path(from)
        .map_err(|e| unreadable(&e))?;
    let header = reader.headers().map_err(|e| unreadable(&e))?.clone();
    let place = |column: &Column| header.iter().position(|name| name == column.name);
    let places: Vec<(&Column, Option<usize>)> =
        table.columns.iter().map(|column| (column, place(column))).collect();
    if let Some((column, _)) = places.iter().find(|(column, at)| column.needed && at.is_none()) {
        return Err(Error::NoColumn { path: from.into(), table: table.name, column: column.name });
    }
    let fields = places.iter().map(|(column, _)| Field::new(column.name, arrow(column.kind), true));
    let line = Field::new(LINE, DataType::UInt64, true);
    let schema = Arc::new(Schema::new(fields.chain([line]).collect::<Vec<_>>()));
    let file = File::create(to).map_err(Error::file(to))?;
    let failed = |e: parquet::errors::ParquetError| Error::Unreadable {
        path: to.into(),
        why: e.to_string(),
    };
    let mut writer = ArrowWriter::try_new(file, schema.clone(), None).map_err(failed)?;
    let mut builders: Vec<Builder> =
        places.iter().map(|(column, _)| Builder::new(column.kind)).collect();
    let mut lines = UInt64Builder::new();
    let mut held = 0;
    let mut record = ::csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        let bad_row = |reason: String| BadRow { file: from.display().to_string(), line, reason };
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                bad.add(bad_row(reason_of(&error)));
                continue;
            }
        }
        // Where comments or empty lines stand before it, the record itself knows.
        let line = record.position().map_or(line, ::csv::Position::line);
        let bad_row = |reason: String| BadRow { line, ..bad_row(reason) };
        if record.len() != header.len() {
            bad.add(bad_row(format!(
                "has another number of fields than the {} of the header",
                header.len()
            )));
            continue;
        }
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or("");
        let wrong = places.iter().find(|(column, at)| !Builder::takes(column.kind, cell(*at)));
        if let Some((column, _)) = wrong {
            bad.add(bad_row(format!("{} is no {}", column.name, word(column.kind))));
            continue;
        }
        builders.iter_mut().zip(&places).for_each(|(builder, (_, at))| builder.push(cell(*at)));
        lines.append_value(line);
        held += 1;
        if held == BATCH_ROWS {
            writer.write(&batch(&schema, &mut builders, &mut lines)?).map_err(failed)?;
            held = 0;
        }
    }
    writer.write(&batch(&schema, &mut builders, &mut lines)?).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(())
}

fn reason_of(error: &::csv::Error) -> String {
    match error.kind() {
        ::csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        _ => "cannot be read".to_owned(),
    }
}

fn batch(
    schema: &Arc<Schema>,
    builders: &mut [Builder],
    lines: &mut UInt64Builder,
) -> Result<RecordBatch, Error> {
    let mut columns: Vec<ArrayRef> = builders.iter_mut().map(Builder::finish).collect();
    columns.push(Arc::new(lines.finish()));
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

const fn arrow(kind: Kind) -> DataType {
    match kind {
        Kind::Id => DataType::UInt64,
        Kind::Number => DataType::UInt32,
        Kind::Whole => DataType::Int64,
        Kind::Real => DataType::Float64,
        Kind::Text => DataType::Utf8,
        Kind::Flag => DataType::Boolean,
        Kind::Time => DataType::Timestamp(TimeUnit::Nanosecond, None),
    }
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Id | Kind::Number => "unsigned integer",
        Kind::Whole => "integer",
        Kind::Real => "number",
        Kind::Text => "text",
        Kind::Flag => "true or false",
        Kind::Time => "time",
    }
}

/// ns since 1970, as an integer or as a date and time.
fn time(cell: &str) -> Option<i64> {
    cell.parse().ok().or_else(|| string_to_timestamp_nanos(cell).ok())
}

fn flag(cell: &str) -> Option<bool> {
    match cell {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

enum Builder {
    Id(UInt64Builder),
    Number(UInt32Builder),
    Whole(Int64Builder),
    Real(Float64Builder),
    Text(StringBuilder),
    Flag(BooleanBuilder),
    Time(TimestampNanosecondBuilder),
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Id => Self::Id(UInt64Builder::new()),
            Kind::Number => Self::Number(UInt32Builder::new()),
            Kind::Whole => Self::Whole(Int64Builder::new()),
            Kind::Real => Self::Real(Float64Builder::new()),
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Flag => Self::Flag(BooleanBuilder::new()),
            Kind::Time => Self::Time(TimestampNanosecondBuilder::new()),
        }
    }

    /// An empty cell is null.
    fn takes(kind: Kind, cell: &str) -> bool {
        cell.is_empty()
            || match kind {
                Kind::Id => cell.parse::<u64>().is_ok(),
                Kind::Number => cell.parse::<u32>().is_ok(),
                Kind::Whole => cell.parse::<i64>().is_ok(),
                Kind::Real => cell.parse::<f64>().is_ok(),
                Kind::Text => true,
                Kind::Flag => flag(cell).is_some(),
                Kind::Time => time(cell).is_some(),
            }
    }

    fn push(&mut self, cell: &str) {
        match self {
            Self::Id(builder) => builder.append_option(cell.parse().ok()),
            Self::Number(builder) => builder.append_option(cell.parse().ok()),
            Self::Whole(builder) => builder.append_option(cell.parse().ok()),
            Self::Real(builder) => builder.append_option(cell.parse().ok()),
            Self::Text(builder) => builder.append_option((!cell.is_empty()).then_some(cell)),
            Self::Flag(builder) => builder.append_option(flag(cell)),
            Self::Time(builder) => builder.append_option(time(cell)),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Id(builder) => Arc::new(builder.finish()),
            Self::Number(builder) => Arc::new(builder.finish()),
            Self::Whole(builder) => Arc::new(builder.finish()),
            Self::Real(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Flag(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
        }
    }
}
